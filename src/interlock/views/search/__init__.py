"""The search language: what is asked is read, given a meaning, planned over indexes, and read page by page."""
