"""What differs between databases: where one lies, who owns it, its connections, its errors."""

from interlock.model.errors import InvalidInput
from interlock.store.dialects.place import Place
from interlock.store.dialects.sqlite import SqlitePlace


def place_of(url: str) -> Place:
    """The place that a URL names: `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…` as libpq reads it.

    Raises InvalidInput for anything else; the message never has a password.
    """
    scheme, colon, _ = url.partition("://")
    if colon and scheme == "sqlite":
        return SqlitePlace(url)
    if colon and scheme in ("postgresql", "postgres"):
        return _postgresql(url)
    raise InvalidInput(
        f"{scheme if colon else 'this'} names no database; write sqlite:///path or postgresql://user@host:port/database"
    )


def _postgresql(url: str) -> Place:
    try:
        from interlock.store.dialects.postgresql import PostgresqlPlace
    except ImportError as error:
        raise InvalidInput(
            f"PostgreSQL needs a driver that cannot be loaded ({error}); pip install 'interlock[postgresql]'"
        ) from error
    return PostgresqlPlace(url)
