"""Tests that start the `qsticky` command as its users do."""
