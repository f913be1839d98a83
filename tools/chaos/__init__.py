"""Long runs that try to break a promise: random faults, and very many syncs."""
