"""Tasks: their lives, steps, locks and children, and what callers may ask of them."""
