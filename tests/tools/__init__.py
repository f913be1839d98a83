"""Short runs of the tools that measure."""
