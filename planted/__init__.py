"""Planted bugs: small wrong changes to the code, each of which the simulator must notice."""
