"""Entities: by ref, by name, by what they refer to. Read in every phase, hence by compiled SQL throughout."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, literal_column, select, update

from interlock.model.records import EntityRecord, EntityRefRecord
from interlock.model.refs import Ref
from interlock.model.text import is_storable
from interlock.store import tables
from interlock.store.queries.by_ref import as_id, rows_by_ref
from interlock.store.queries.rows import pieces
from interlock.store.statements import execute, execute_many

_entities, _links = tables.entities, tables.entity_refs
_named = (_entities.c.type, _entities.c.id)
_origin = (_links.c.origin_type, _links.c.origin_id)

_GET = select(_entities)
_VERSIONS = select(*_named, _entities.c.version, _entities.c.links)
_BY_NAME = select(_entities).where(_entities.c.type == bindparam("kind"), _entities.c.name == bindparam("called"))
# by subquery: joined, SQLite would walk through all entities of the type for the sake of the order
_REFERRING = (
    select(_entities)
    .where(
        _entities.c.type == bindparam("kind"),
        _entities.c.id.in_(
            select(_links.c.origin_id).where(
                _links.c.target_type == bindparam("target_type"),
                _links.c.target_id == bindparam("target_id"),
                _links.c.origin_type == bindparam("kind"),
                _links.c.field == bindparam("field"),
            )
        ),
    )
    .order_by(_entities.c.id)
)
_REFS_FROM = select(_links).order_by(*_origin, _links.c.field, _links.c.target_type, _links.c.target_id)
_RAISE_LINKS = (
    update(_entities)
    .where(_entities.c.type == bindparam("kind"), _entities.c.id == bindparam("its_id"))
    .values(links=_entities.c.links + literal_column("1"))
)


def get(connection: Connection, refs: Iterable[Ref[Any]]) -> dict[Ref[Any], EntityRecord]:
    """The entities that exist among the refs."""
    records = map(_entity, rows_by_ref(connection, _GET, _named, refs))
    return {record.ref: record for record in records}


def of_types(connection: Connection, types: Collection[str]) -> list[EntityRecord]:
    """All entities of some types, by name."""
    query = _GET.where(_entities.c.type.in_(types)).order_by(_entities.c.type, _entities.c.name, _entities.c.id)
    return [_entity(row) for row in connection.execute(query)]


def by_name(connection: Connection, type: str, name: str) -> EntityRecord | None:
    """The entity of that type and name."""
    if not (is_storable(type) and is_storable(name)):
        return None
    rows = execute(connection, _BY_NAME, {"kind": type, "called": name})
    return _entity(rows[0]) if rows else None


def named_among(connection: Connection, type: str, name: str, ids: Collection[UUID]) -> UUID | None:
    """The one of these entities that is of that type and has that name, or had it when it was removed."""
    if not (is_storable(type) and is_storable(name)):
        return None
    for table in (tables.entities, tables.former_entities):
        called = select(table.c.id).where(table.c.type == type, table.c.name == name)
        for piece in pieces(ids):
            found: UUID | None = connection.scalar(called.where(table.c.id.in_(piece)))
            if found is not None:
                return found
    return None


def referring(connection: Connection, type: str, field: str, target: Ref[Any]) -> list[EntityRecord]:
    """The entities of a type whose field names the target, ordered by id."""
    values = {"target_type": target.type, "target_id": target.id, "kind": type, "field": field}
    return [_entity(row) for row in execute(connection, _REFERRING, values)]


def versions(connection: Connection, refs: Iterable[Ref[Any]]) -> dict[Ref[Any], tuple[int, int]]:
    """`(version, links)` of the entities that exist among the refs."""
    rows = rows_by_ref(connection, _VERSIONS, _named, refs)
    return {Ref(kind, as_id(id)): (version, links) for kind, id, version, links in rows}


def refs_from(connection: Connection, refs: Iterable[Ref[Any]]) -> list[EntityRefRecord]:
    """All refs that the entities hold."""
    return [
        EntityRefRecord(Ref(kind, as_id(id)), field, Ref(target, as_id(target_id)))
        for kind, id, field, target, target_id in rows_by_ref(connection, _REFS_FROM, _origin, refs)
    ]


def raise_links(connection: Connection, refs: Iterable[Ref[Any]]) -> None:
    """Counts a change of what refers to these entities; those that do not exist are passed over."""
    execute_many(connection, _RAISE_LINKS, [{"kind": ref.type, "its_id": ref.id} for ref in set(refs)])


def _entity(row: Any) -> EntityRecord:
    """A record from a row as the driver has it."""
    kind, id, version, links, name, status, schema, body_json = row
    return EntityRecord(Ref(kind, as_id(id)), version, links, name, status, schema, body_json)
