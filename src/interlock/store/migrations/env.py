"""What Alembic runs: it migrates the connection that it is handed, within that connection's transaction."""

from alembic import context

from interlock.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
