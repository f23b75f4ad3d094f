"""The schema's version: what a database has, what this code knows, and the way up."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from interlock.model.errors import Refused

if TYPE_CHECKING:
    from alembic.config import Config

#: the newest schema version that this code knows
NEWEST = "0004"
#: where Alembic notes the version
_NOTED = table("alembic_version", column("version_num"))


def version_of(connection: Connection) -> str | None:
    """The database's schema version; None = it is empty."""
    if not inspect(connection).has_table(_NOTED.name):
        return None
    return connection.execute(select(_NOTED.c.version_num)).scalar_one_or_none()


def migrate(connection: Connection, name: str) -> None:
    """Brings the database up to NEWEST within the connection's transaction; `name` is for the message.

    Raises Refused where the database is newer than this code.
    """
    found = version_of(connection)
    if found == NEWEST:
        return
    from alembic import command  # late: a start that has nothing to migrate is a fifth of a second quicker
    from alembic.script import ScriptDirectory

    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise Refused(_too_new(name, found))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def require_newest(connection: Connection, name: str) -> None:
    """Raises Refused where the schema is not exactly the one that this code knows."""
    found = version_of(connection)
    if found is None or found < NEWEST:
        raise Refused(
            f"the schema of {name} is version {found or 'none'}, older than {NEWEST}; "
            "start the coordinator on it once, which migrates it"
        )
    if found > NEWEST:
        raise Refused(_too_new(name, found))


def _too_new(name: str, found: str) -> str:
    return (
        f"the schema of {name} is version {found}, newer than {NEWEST}, the newest that this program knows; "
        "use the newer program"
    )


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
