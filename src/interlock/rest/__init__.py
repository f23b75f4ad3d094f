"""The API: JSON over HTTP on a Unix socket, under /api/v1."""
