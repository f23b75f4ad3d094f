"""What version 1 creates, a module per area; frozen."""
