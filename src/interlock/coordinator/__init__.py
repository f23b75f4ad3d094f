"""The running engine: intake, phases, writer, dispatch, watching, recovery."""
