"""Tests of `qsticky.sync`."""
