"""Tests of `qsticky.demo`."""
