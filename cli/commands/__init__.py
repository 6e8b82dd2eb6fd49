"""The commands of `ratchet` that are more than a few lines, and `make demo`."""
