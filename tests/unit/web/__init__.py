"""Tests of `qsticky.web`."""
