"""Tests of `qsticky.kernel`."""
