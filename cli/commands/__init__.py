"""The commands of `ratchet`, and `make demo`."""
