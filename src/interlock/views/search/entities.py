"""The entities of one type, as they can be searched."""

from uuid import UUID

from sqlalchemy import Connection, and_

from interlock.model.records import EntityRecord
from interlock.store.tables import entities, entity_refs
from interlock.views.entities import summary
from interlock.views.loading import records
from interlock.views.search.fields import Field, Kind, Link, Subject
from interlock.views.search.sources import BySubject, Collection, Lookup, Walk, any_of, begins, equals, ids_by, is_set
from interlock.views.words import Json

_entity = entities.c

FIELDS: tuple[Field | Subject, ...] = (
    Field("id", Kind.ID, _entity.id, "the entity's id"),
    Field("name", Kind.TEXT, _entity.name, "its name", nullable=True),
    Field("status", Kind.TEXT, _entity.status, "its status, in its type's words", nullable=True),
    Field("version", Kind.NUMBER, _entity.version, "how often it was changed"),
)


def of_type(type: str) -> Collection:
    """Those of a type; `host.name = h1` asks for those that refer to such a host."""

    def show(connection: Connection, ids: list[UUID]) -> list[Json]:
        found = records(connection, EntityRecord, and_(_entity.type == type, _entity.id.in_(ids)))
        by_id = {each.ref.id: each for each in found}
        return [summary(by_id[id]) for id in ids if id in by_id]

    return Collection(
        name="entities",
        table=entities,
        id=_entity.id,
        fields={field.name: field for field in FIELDS},
        sources=(
            Lookup(equals("id"), ids_by(_entity.id, _entity.id)),
            BySubject(),
            Walk("name", any_of(begins("name"), is_set("name"))),
            Walk("name", equals("status"), keyed=False),
        ),
        order="id",
        orders=("name", "id"),
        remedy="add how its name begins, its status, or an entity that it refers to, as in host.name = h1",
        show=show,
        bare=lambda word: [("name", f"{word}*")],
        descending=False,
        link=Link(
            entity_refs.c.origin_id, entity_refs.c.target_type, entity_refs.c.target_id,
            (entity_refs.c.origin_type == type,),
        ),
        orders_within=(("name", "name"),),
        base=(_entity.type == type,),
    )  # fmt: skip
