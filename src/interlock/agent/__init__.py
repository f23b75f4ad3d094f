"""The host agent: runs a host's tasks, and answers for them after any crash."""
