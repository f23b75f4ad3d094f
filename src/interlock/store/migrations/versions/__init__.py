"""One module per schema version; once released, never edited."""
