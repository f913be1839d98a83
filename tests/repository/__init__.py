"""Tests of the repository itself: its links, names and workflows."""
