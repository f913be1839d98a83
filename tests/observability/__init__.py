"""Dashboard, alerts and log shipping, against a real Prometheus where it is at stake."""
