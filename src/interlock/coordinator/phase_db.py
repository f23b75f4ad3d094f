"""`db`, as the phases see it: reads over a snapshot and the change set, writes into the change set."""

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast
from uuid import UUID

from interlock.catalog import Catalog
from interlock.command import Child, Command, TaskResult
from interlock.coordinator import restoring
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.entities import Entity
from interlock.model.errors import Bug, Missing, NameTaken, Refused
from interlock.model.failure import Failure
from interlock.model.layout import GROUP
from interlock.model.records import (
    CommandRecord,
    EntityRecord,
    Role,
    Severity,
    SignalRecord,
    SnapshotRecord,
    TaskRecord,
)
from interlock.model.refs import Ref
from interlock.model.text import require_storable
from interlock.model.waits import data_of, require_kind

E = TypeVar("E", bound=Entity)
C = TypeVar("C", bound=Command[Any])


class PhaseDb:
    """A `Tx` for one phase of one command; a `Reader` is the same object behind the narrower type."""

    def __init__(
        self,
        flow: Flow,
        command: CommandRecord | None,
        snapshot: Snapshot,
        catalog: Catalog,
        objects: Callable[[CommandRecord], Command[Any]],
        new_id: Callable[[], UUID],
        now: int,
    ) -> None:
        self._flow = flow
        self._of = command
        self._snapshot = snapshot
        self._catalog = catalog
        self._objects = objects
        self._new_id = new_id
        self._now = now

    @property
    def _command(self) -> CommandRecord:
        assert self._of is not None  # what has none overrides whatever needs it
        return self._of

    # reading ----------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self._now

    def record(self, ref: Ref[Any]) -> EntityRecord | None:
        """The row as this transaction sees it."""
        change = self._flow.entities.get(ref)
        if change is not None:
            return cast(EntityRecord | None, change.new)
        return self._snapshot.entity(ref)

    def get(self, ref: Ref[E]) -> E:
        record = self.record(ref)
        if record is None:
            raise Missing(f"{ref} does not exist; `interlock entity {ref.type}` lists those that do")
        return cast(E, self._snapshot.parse(record))

    def exists(self, ref: Ref[Any]) -> bool:
        return self.record(ref) is not None

    def named(self, type: type[E], name: str) -> E | None:
        for change in self._flow.entities.values():
            new = cast(EntityRecord | None, change.new)
            if new is not None and (new.ref.type, new.name) == (type.entity_type, name):
                return cast(E, self._snapshot.parse(new))
        record = self._snapshot.named(type.entity_type, name)
        if record is None or record.ref in self._flow.entities:
            return None  # none, or renamed or removed by this flow
        return cast(E, self._snapshot.parse(record))

    def find(self, type: type[E], **field: Ref[Any]) -> tuple[E, ...]:
        if len(field) != 1:
            raise Bug("find takes one ref field: db.find(Disk, vm=vm)")
        [(name, target)] = field.items()
        stored = self._snapshot.referring(type.entity_type, name, target)
        found = {record.ref: self.get(record.ref) for record in stored if self.exists(record.ref)}
        for ref, change in self._flow.entities.items():
            if ref.type == type.entity_type and change.new is not None:
                found[ref] = self.get(ref)
        matching = [each for each in found.values() if _refers(each, name, target)]
        return cast(tuple[E, ...], tuple(sorted(matching, key=lambda each: each.id)))

    def children(self, type: type[C]) -> tuple[Child[C], ...]:
        rows = self._flow.children_of(self._command.id, Role.FORWARD)
        return tuple(
            Child(
                cast(C, self._objects(row)),
                row.result,
                self._catalog.read_value(type, row.value_json),
                Failure.from_json(row.failure_json) if row.failure_json else None,
            )
            for row in rows
            if row.name == type.command_type.name
        )

    def tasks(self, command: Command[Any]) -> tuple[TaskResult, ...]:
        return tuple(
            TaskResult(
                row.method,
                row.host,
                row.outcome,
                json.loads(row.answer_json) if row.answer_json is not None else None,
                row.code,
                row.message,
            )
            for row in self._tasks_of(self._command.id)
        )

    def _tasks_of(self, id: UUID) -> list[TaskRecord]:
        """Also those within groups: a task that another waits for is wrapped in one."""
        rows = self._flow.tasks_for(id, Role.FORWARD)
        groups = [row for row in self._flow.children_of(id, Role.FORWARD) if row.name == GROUP]
        if not groups:
            return rows
        found = [(row.position, [row]) for row in rows] + [(row.position, self._tasks_of(row.id)) for row in groups]
        return [task for _, tasks in sorted(found, key=lambda each: each[0]) for task in tasks]

    # writing ----------------------------------------------------------------------------------------

    def add(self, entity: Entity) -> None:
        if self.exists(entity.ref):
            raise Refused(f"{entity.ref} exists already; take a new id from db.new")
        self._check_name(entity)
        self._write(entity.ref, entity)

    def put(self, entity: Entity) -> None:
        if not self.exists(entity.ref):
            raise Missing(f"{entity.ref} does not exist; db.add adds new entities")
        self._check_name(entity)
        self._write(entity.ref, entity)

    def remove(self, ref: Ref[Any]) -> None:
        if self.exists(ref):
            self._write(ref, None)

    def new(self, type: type[E]) -> Ref[E]:
        return Ref(type.entity_type, self._new_id())

    def log(self, message: str, *, warning: bool = False) -> None:
        severity = Severity.WARNING if warning else Severity.INFO
        self._flow.add_event(self._now, "logged", message, severity, command_id=self._command.id)

    def announce(self, kind: str, about: Ref[Any] | None = None, data: Any = None) -> None:
        require_kind(kind)
        self._flow.send_signal(
            SignalRecord(self._new_id(), kind, about, None, data_of(kind, data), self._who(), self._now)
        )

    def _who(self) -> str:
        return f"command {self._command.id}"

    def restore(self) -> None:
        restoring.restore(self, self._flow, self._command, self._catalog)

    def is_name_free(self, entity: Entity) -> bool:
        """Whether no other entity of its type has its name."""
        former = self.record(entity.ref)
        if entity.name is None or (former is not None and former.name == entity.name):
            return True
        return self.named(type(entity), entity.name) is None

    def _check_name(self, entity: Entity) -> None:
        if not self.is_name_free(entity):
            raise NameTaken(f"there is a {entity.entity_type} named {entity.name!r} already; choose another name")

    def _write(self, ref: Ref[Any], entity: Entity | None) -> None:
        before = self.record(ref)
        self.store(ref, entity)
        self._remember(ref, before, self.record(ref))

    def store(self, ref: Ref[Any], entity: Entity | None) -> None:
        """Writes without a snapshot; `restore` uses it too."""
        change = self._flow.entities.get(ref)
        base = cast(EntityRecord | None, change.old) if change is not None else self._snapshot.entity(ref)
        new = None
        if entity is not None:
            status = getattr(entity, "status", None)
            require_storable(f"the name of {ref}", entity.name)
            require_storable(f"the status of {ref}", None if status is None else str(status))
            new = EntityRecord(
                ref=ref,
                version=base.version + 1 if base else 1,
                links=base.links if base else 0,
                name=entity.name,
                status=str(status) if status is not None else None,
                schema=entity.entity_version,
                body_json=self._catalog.write_entity(entity),
            )
        self._flow.put_entity(ref, Change(base, new))

    def _remember(self, ref: Ref[Any], before: EntityRecord | None, after: EntityRecord | None) -> None:
        known = self._flow.snapshots.get((self._command.id, ref))
        self._flow.put_snapshot(
            SnapshotRecord(
                self._flow.id,
                self._command.id,
                ref,
                known.position if known else len(self._flow.snapshots),
                known.before_json if known else restoring.freeze(before),
                restoring.freeze(after),
            )
        )


def _refers(entity: Entity, field: str, target: Ref[Any]) -> bool:
    value = getattr(entity, field, None)
    return value == target or (isinstance(value, tuple) and target in value)
