"""The schema's history: each version brings the tables from the one before to its own."""
