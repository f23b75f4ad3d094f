"""What the agent remembers: an append-only file, what its entries add up to, and what can be said after damage."""
