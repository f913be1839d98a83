"""What is spoken to over HTTP."""
