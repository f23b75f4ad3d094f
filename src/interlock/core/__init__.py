"""Pure decisions about lives and ends: no I/O, no clock, no randomness, no SQL."""
