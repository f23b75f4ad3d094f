"""What version 3 creates, by what it is about."""
