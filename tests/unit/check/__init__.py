"""Tests of `qsticky.check`."""
