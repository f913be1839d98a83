"""The real daemon between simulated services."""
