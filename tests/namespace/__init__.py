"""Tests in a network namespace of their own, with an interface like Gluetun's."""
