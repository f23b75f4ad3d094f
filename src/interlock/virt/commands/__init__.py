"""The commands, one module per family of entities."""
