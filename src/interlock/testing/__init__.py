"""For those who test: real processes of a small site, started, killed and started again."""
