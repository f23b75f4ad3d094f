"""`db.restore()`: puts back what a command wrote, as far as nobody changed it since, in reverse order.

The first snapshot per entity and command wins (oVirt's compensation); only fields that still hold what the
command wrote are put back, the rest is reported. What a task of unknown fate may touch is left alone.
"""

import json
from typing import Any, Protocol

from interlock.catalog import Catalog
from interlock.core.ending import untouchable
from interlock.core.flow import Flow
from interlock.model.entities import Entity
from interlock.model.records import CommandRecord, EntityRecord, SnapshotRecord
from interlock.model.refs import Ref


class Rows(Protocol):
    """What restoring needs of a phase's db: rows as the transaction sees them, and writes without a snapshot."""

    def record(self, ref: Ref[Any]) -> EntityRecord | None: ...

    def store(self, ref: Ref[Any], entity: Entity | None) -> None: ...

    def is_name_free(self, entity: Entity) -> bool: ...

    def log(self, message: str, *, warning: bool = False) -> None: ...


def freeze(record: EntityRecord | None) -> str | None:
    """An entity's row as a snapshot keeps it."""
    return None if record is None else f'{{"schema":{record.schema},"body":{record.body_json}}}'


def restore(db: Rows, flow: Flow, command: CommandRecord, catalog: Catalog) -> None:
    """Undoes the command's own writes, the last first, but for one whose former name another of them has: that one
    gives it up before. A second call finds nothing left to do."""
    blocked = untouchable(flow)
    mine = sorted(
        (row for row in flow.snapshots.values() if row.command_id == command.id), key=lambda row: row.position
    )
    while mine:
        last_first = range(len(mine) - 1, -1, -1)
        row = mine.pop(next((n for n in last_first if _may_have_its_name(db, mine[n], catalog)), -1))
        if row.ref in blocked:
            db.log(f"{row.ref} is not restored: a task of unknown fate may still touch it", warning=True)
        else:
            _put_back(db, row, catalog)
        flow.drop_snapshot(row)


def _may_have_its_name(db: Rows, row: SnapshotRecord, catalog: Catalog) -> bool:
    before = _fields(catalog, row.ref, row.before_json)
    return before is None or db.is_name_free(_entity(catalog, row.ref, before))


def _put_back(db: Rows, row: SnapshotRecord, catalog: Catalog) -> None:
    now = db.record(row.ref)
    current = _fields(catalog, row.ref, freeze(now))
    before = _fields(catalog, row.ref, row.before_json)
    after = _fields(catalog, row.ref, row.after_json)
    if before is None:  # it was added
        if current is not None and current == after:
            db.store(row.ref, None)
        elif current is not None:
            db.log(f"{row.ref} was added and then changed by others; it stays", warning=True)
    elif after is None:  # it was removed
        entity = _entity(catalog, row.ref, before)
        if current is None and db.is_name_free(entity):
            db.store(row.ref, entity)
        elif current is None:
            db.log(f"{row.ref} is not restored: its name {entity.name!r} was taken by others since", warning=True)
    elif current is None:
        db.log(f"{row.ref} was removed by others; it is not restored", warning=True)
    else:
        ours = {name for name in before if before[name] != after.get(name)}
        kept = {name for name in ours if current.get(name) != after.get(name)}
        if "name" in ours - kept and not db.is_name_free(_entity(catalog, row.ref, before)):
            kept.add("name")
        if kept:
            db.log(f"{row.ref}: {', '.join(sorted(kept))} changed or taken by others since; not restored", warning=True)
        back = {name: before[name] if name in ours - kept else value for name, value in current.items()}
        if back != current:
            db.store(row.ref, _entity(catalog, row.ref, back))


def _fields(catalog: Catalog, ref: Ref[Any], frozen: str | None) -> dict[str, Any] | None:
    """A snapshot's fields, as the present class writes them."""
    if frozen is None:
        return None
    stored = json.loads(frozen)
    entity = catalog.read_body(ref, stored["schema"], json.dumps(stored["body"]))
    fields: dict[str, Any] = json.loads(catalog.write_entity(entity))
    return fields


def _entity(catalog: Catalog, ref: Ref[Any], fields: dict[str, Any]) -> Entity:
    return catalog.read_body(ref, catalog.entities[ref.type].entity_version, json.dumps(fields))
