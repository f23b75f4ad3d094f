"""Entities: business objects with their fields, who holds them, and which jobs touched them."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, select

from interlock.model.records import EntityRecord
from interlock.model.refs import Ref
from interlock.model.text import is_storable
from interlock.store.tables import entities, entity_refs
from interlock.views import jobs, locks
from interlock.views.loading import records
from interlock.views.words import Json, value

#: entities on one page
PAGE_MAX = 200
#: referring entities shown with one
REFERRERS_MAX = 200


def page(connection: Connection, type: str, *, limit: int = 50, after: UUID | None = None) -> Json:
    """`{"entities": […], "next": id}`: those of a type, oldest first; `next` is the `after` of the next page.

    ValueError where `limit` is not 1 to PAGE_MAX.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"limit {limit}; it must be 1 to {PAGE_MAX}")
    if not is_storable(type):
        return {"entities": [], "next": None}
    where = [entities.c.type == type] + ([entities.c.id > after] if after is not None else [])
    found = records(connection, EntityRecord, *where, order_by=[entities.c.id], limit=limit + 1)
    shown = found[:limit]
    return {
        "entities": [summary(each) for each in shown],
        "next": str(shown[-1].ref.id) if len(found) > limit else None,
    }


def named(connection: Connection, type: str, name: str) -> UUID | None:
    """The id of the entity of that type and name."""
    if not (is_storable(type) and is_storable(name)):
        return None
    query = select(entities.c.id).where(entities.c.type == type, entities.c.name == name)
    found: UUID | None = connection.execute(query).scalar()
    return found


def one(connection: Connection, ref: Ref[Any]) -> Json | None:
    """An entity: fields, locks on it, what refers to it, its newest jobs; None where there is none."""
    if not is_storable(ref.type):
        return None
    found = records(connection, EntityRecord, and_(entities.c.type == ref.type, entities.c.id == ref.id))
    if not found:
        return None
    return {
        **summary(found[0]),
        "fields": value(found[0].body_json),
        "locks": locks.on(connection, ref),
        "referrers": _referrers(connection, ref),
        "jobs": jobs.touching(connection, ref),
    }


def _referrers(connection: Connection, ref: Ref[Any]) -> list[Json]:
    link = entity_refs.c
    query = (
        select(link.origin_type, link.origin_id, link.field)
        .where(link.target_type == ref.type, link.target_id == ref.id)
        .order_by(link.origin_type, link.origin_id, link.field)
        .limit(REFERRERS_MAX)
    )
    return [{"ref": str(Ref(type, id)), "field": field} for type, id, field in connection.execute(query)]


def summary(record: EntityRecord) -> Json:
    """An entity, without its fields."""
    return {
        "ref": str(record.ref),
        "type": record.ref.type,
        "id": str(record.ref.id),
        "name": record.name,
        "status": record.status,
        "version": record.version,
    }
