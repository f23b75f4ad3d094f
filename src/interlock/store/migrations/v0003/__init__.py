"""The parts of version 3; once released, never edited."""
