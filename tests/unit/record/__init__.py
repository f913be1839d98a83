"""Tests of `qsticky.record`."""
