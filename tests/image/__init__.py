"""The image and the compose files, on a Docker engine of the tests' own."""
