"""qSticky's tests."""
