"""Effects on storage that several verbs share, as parts of their steps."""
