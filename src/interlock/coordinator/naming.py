"""Names that people write, and what they mean."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Connection

from interlock.store.queries import entities, jobs

#: an entity's type and name, and its id
Resolve = Callable[[str, str], UUID | None]


def names_of(connection: Connection, idempotency_key: str | None) -> Resolve:
    """What names mean in a call: the entities that bear them now; but in one that repeats another, under its key, those
    that they meant then, also where these are gone, or others bear their names by now (hard case 17)."""
    known = None if idempotency_key is None else jobs.by_key(connection, idempotency_key)
    then = () if known is None else tuple(ref.id for ref in known.refs)

    def resolve(entity_type: str, name: str) -> UUID | None:
        meant = entities.named_among(connection, entity_type, name, then) if then else None
        if meant is not None:
            return meant
        found = entities.by_name(connection, entity_type, name)
        return found.ref.id if found is not None else None

    return resolve
