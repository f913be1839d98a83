"""A report's ways out: numbers, a document, log lines."""
