"""One decision at a time: which port, whether it is listened on, and what to do."""
