"""The README's picture of the dashboard: its panels, drawn from what Prometheus saw of a run."""
