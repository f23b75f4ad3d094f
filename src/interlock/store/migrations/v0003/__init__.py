"""The parts of version 3."""
