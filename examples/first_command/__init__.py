"""A first command of one's own: a web site goes live with a new release, or stays as it was."""
