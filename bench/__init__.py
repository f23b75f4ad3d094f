"""Measurements of the coordinator: how fast, at what cost, and where the time goes. Run by `make bench`."""
