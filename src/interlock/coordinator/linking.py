"""Keeps `entity_refs` in step with the entities that a change set writes."""

from typing import Any, cast

from interlock.catalog import Catalog, refs_of
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.records import EntityRecord, EntityRefRecord
from interlock.model.refs import Ref


def link_changes(flow: Flow, catalog: Catalog) -> tuple[list[Change], set[Ref[Any]]]:
    """The rows of refs to add and to remove, and the targets whose `links` they raise."""
    changes: list[Change] = []
    bumps: set[Ref[Any]] = set()
    for change in flow.entities.values():
        old = _links(catalog, cast(EntityRecord | None, change.old))
        new = _links(catalog, cast(EntityRecord | None, change.new))
        changes += [Change(link, None) for link in sorted(old - new, key=str)]
        changes += [Change(None, link) for link in sorted(new - old, key=str)]
        bumps |= {link.target for link in old ^ new}
    return changes, bumps


def _links(catalog: Catalog, record: EntityRecord | None) -> set[EntityRefRecord]:
    if record is None:
        return set()
    entity = catalog.read_entity(record)
    return {EntityRefRecord(record.ref, field, target) for field, target in refs_of(entity)}
