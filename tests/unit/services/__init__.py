"""Tests of `qsticky.services`."""
