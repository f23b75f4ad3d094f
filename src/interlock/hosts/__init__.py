"""Backends: how async tasks reach those who do them."""
