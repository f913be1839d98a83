"""Benchmarks: what the daemon costs, and how soon it reacts, each figure beside its floor."""
