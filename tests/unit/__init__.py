"""Tests of one module each, without other programs."""
