"""A `Tx` over a dictionary, in which tests run single phases of commands, and rows to begin with."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar
from uuid import UUID

from interlock import Child, Command, Entity, Missing, NameTaken, Outcome, Ref, TaskResult, Tx
from interlock.virt.entities import (
    Disk,
    DiskFormat,
    DiskStatus,
    Host,
    HostStatus,
    StorageDomain,
    StorageDomainStatus,
    Template,
    TemplateStatus,
    Vm,
    VmStatus,
)

E = TypeVar("E", bound=Entity)
C = TypeVar("C", bound=Command[Any])
#: the first id that `new` gives; the next is one more
FIRST_ID = 1000


class World:
    """The entities, and the ids given so far."""

    def __init__(self, *entities: Entity) -> None:
        self.rows: dict[Ref[Any], Entity] = {entity.ref: entity for entity in entities}
        self.next_id = FIRST_ID
        self.events: list[tuple[str, bool]] = []

    def by_name(self) -> dict[str | None, Entity]:
        return {entity.name: entity for entity in self.rows.values()}


class MemoryTx:
    """One command's view of a world. Its snapshots are the command's own, as `restore` wants."""

    now = 1_700_000_000_000_000

    def __init__(self, world: World, *, children: Iterable[Child[Any]] = (), tasks: Iterable[TaskResult] = ()) -> None:
        self.world = world
        self._children = list(children)
        self._tasks = list(tasks)
        self._before: dict[Ref[Any], Entity | None] = {}

    def learn(self, children: Iterable[Child[Any]], tasks: Iterable[TaskResult]) -> None:
        self._children, self._tasks = list(children), list(tasks)

    def get(self, ref: Ref[E]) -> E:
        if ref not in self.world.rows:
            raise Missing(f"there is no {ref}")
        return self.world.rows[ref]  # type: ignore[return-value]  # a ref's type is its entity's

    def exists(self, ref: Ref[Any]) -> bool:
        return ref in self.world.rows

    def named(self, type: type[E], name: str) -> E | None:
        return next((each for each in self.world.rows.values() if isinstance(each, type) and each.name == name), None)

    def find(self, type: type[E], **field: Ref[Any]) -> tuple[E, ...]:
        ((name, target),) = field.items()
        assert name in {each.name for each in fields(type)}
        found = [
            each for each in self.world.rows.values() if isinstance(each, type) and _names(getattr(each, name), target)
        ]
        return tuple(sorted(found, key=lambda each: each.id))

    def children(self, type: type[C]) -> tuple[Child[C], ...]:
        return tuple(child for child in self._children if isinstance(child.command, type))

    def tasks(self, command: Command[Any]) -> tuple[TaskResult, ...]:
        return tuple(self._tasks)

    def add(self, entity: Entity) -> None:
        if entity.name is not None and self.named(type(entity), entity.name) is not None:
            raise NameTaken(f"there is a {entity.entity_type} named {entity.name}")
        self._write(entity.ref, entity)

    def put(self, entity: Entity) -> None:
        self.get(entity.ref)
        self._write(entity.ref, entity)

    def remove(self, ref: Ref[Any]) -> None:
        if ref in self.world.rows:
            self._write(ref, None)

    def new(self, type: type[E]) -> Ref[E]:
        self.world.next_id += 1
        return Ref(type.entity_type, UUID(int=self.world.next_id - 1))

    def restore(self) -> None:
        for ref, before in reversed(list(self._before.items())):
            _set(self.world.rows, ref, before)

    def announce(self, kind: str, about: Ref[Any] | None = None, data: Any = None) -> None:
        raise NotImplementedError(f"no command here announces {kind}")

    def log(self, message: str, *, warning: bool = False) -> None:
        self.world.events.append((message, warning))

    def _write(self, ref: Ref[Any], entity: Entity | None) -> None:
        self._before.setdefault(ref, self.world.rows.get(ref))
        _set(self.world.rows, ref, entity)


def _names(value: object, target: Ref[Any]) -> bool:
    return target in value if isinstance(value, tuple) else value == target


def _set(rows: dict[Ref[Any], Entity], ref: Ref[Any], entity: Entity | None) -> None:
    if entity is None:
        rows.pop(ref, None)
    else:
        rows[ref] = entity


def tx(world: World, *, children: Iterable[Child[Any]] = (), tasks: Iterable[TaskResult] = ()) -> Tx:
    """A fresh command's view of the world."""
    return MemoryTx(world, children=children, tasks=tasks)


def task(outcome: Outcome, *, answer: Any = None, code: int | None = None) -> TaskResult:
    return TaskResult("a verb", HOST.ref, outcome, answer, code)


HOST = Host(
    id=UUID(int=1),
    name="host1",
    address="192.0.2.7",
    port=54321,
    server_name="host1",
    status=HostStatus.UP,
    capabilities={"interlock": {"version": 1}},
)
DOMAIN = StorageDomain(
    id=UUID(int=2),
    name="local",
    host=HOST.ref,
    path="/srv/images",
    pool_id=UUID(int=3),
    status=StorageDomainStatus.ACTIVE,
)
#: another domain of the same host
FAST = replace(DOMAIN, id=UUID(int=8), name="fast", path="/srv/fast", pool_id=UUID(int=9))
HOST2 = replace(HOST, id=UUID(int=11), name="host2", address="192.0.2.8", server_name="host2")
#: a domain of another host
FAR = replace(DOMAIN, id=UUID(int=12), name="far", host=HOST2.ref, pool_id=UUID(int=13))
WEB: Ref[Vm] = Ref("vm", UUID(int=10))


def disk(number: int, status: DiskStatus = DiskStatus.OK, *, vm: Ref[Vm] | None = WEB) -> Disk:
    return Disk(
        id=UUID(int=20 + number),
        name=f"web_disk{number}",
        domain=DOMAIN.ref,
        image_id=UUID(int=40 + number),
        volume_id=UUID(int=60 + number),
        size=1024**3,
        format=DiskFormat.COW,
        status=status,
        vm=vm,
    )


def template_disk(number: int, status: DiskStatus = DiskStatus.OK) -> Disk:
    return Disk(
        id=UUID(int=100 + number),
        name=f"gold_disk{number}",
        domain=DOMAIN.ref,
        image_id=UUID(int=120 + number),
        volume_id=UUID(int=140 + number),
        size=1024**3,
        format=DiskFormat.RAW,
        status=status,
    )


def gold(status: TemplateStatus = TemplateStatus.OK, *, disks: Iterable[Disk] = ()) -> Template:
    return Template(
        id=UUID(int=5), name="gold", source_vm="web", status=status, disks=tuple(each.ref for each in disks)
    )


def web(status: VmStatus = VmStatus.DOWN, *, disks: Iterable[Disk] = ()) -> Vm:
    return Vm(id=WEB.id, name="web", status=status, disks=tuple(each.ref for each in disks))


def with_status(entity: E, status: object) -> E:
    fields_now: dict[str, Any] = {"status": status}  # Any: each kind of entity has statuses of its own
    return replace(entity, **fields_now)
