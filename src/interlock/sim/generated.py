"""Generated commands: a tree of plans that a seed describes, carried out by whatever it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select

from interlock import (
    NO_LOCKS,
    NOTHING,
    Catalog,
    Command,
    Endpoint,
    Entity,
    Failure,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Retry,
    Tx,
    exclusive,
    first_of,
    on_host,
    parallel,
    part,
    refuse,
    sequence,
    shared,
)
from interlock.model.records import TaskRecord
from interlock.sim.sites import HOSTS, Submission, host, port_of
from interlock.sim.storage import Storage
from interlock.store import tables
from interlock.store.tables import entities
from interlock.verbs import BLANK_ID, ImageDelete, StorageDomainCreate, Verb, VolumeCreate, VolumeFormat

Spec = dict[str, Any]  # JSON, as `Flows` makes it

#: how many things there are to lock
THINGS = 4


class Node(Entity, type="host"):
    """A host."""

    port: int

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port, None)


class Thing(Entity, type="thing"):
    """What commands lock; the end phases write the truth into it."""

    truth: str = "untouched"


class Tally(Entity, type="tally"):
    """How many commands have ended well: all of them write it, and none locks it."""

    many: int = 0


def node(number: int) -> Ref[Node]:
    return Ref("host", host(number))


def thing(number: int) -> Ref[Thing]:
    return Ref("thing", UUID(int=0x2000 + number))


TALLY: Ref[Tally] = Ref("tally", UUID(int=0x3000))


class Work(Command[str], name="sim.work", resumable=True, skippable=True):
    """Does what its spec says."""

    spec: str

    def locks(self, db: Reader) -> Locks:
        spec = self._read()
        locks = NO_LOCKS
        for number, mode in spec.get("locks", ()):
            locks += exclusive(thing(number)) if mode == "x" else shared(thing(number))
        return locks.waiting() if spec.get("waits") else locks

    def validate(self, db: Reader) -> Refusals:
        if self._read().get("refused"):
            yield refuse("the spec says so; take another")

    def execute(self, db: Tx) -> Plan:
        spec = self._read()
        if "raises" in spec:
            raise {"error": ValueError, "depth": RecursionError, "memory": MemoryError}[spec["raises"]]("as specified")
        for number, mode in spec.get("locks", ()):
            if mode == "x":
                db.put(replace(db.get(thing(number)), truth="changing"))
        return self._plan(db, spec["plan"])

    def end_successfully(self, db: Tx) -> str:
        self._write(db, "done")
        db.put(replace(db.get(TALLY), many=db.get(TALLY).many + 1))
        return "done"

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        self._write(db, "failed")
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        self._write(db, "undone")
        made = [spec for spec in _tasks(self._read()["plan"]) if spec["verb"] == "create"]
        return parallel(*(part(on_host(node(spec["host"]), _delete(spec["volume"]), touches=())) for spec in made))

    def _write(self, db: Tx, truth: str) -> None:
        for number, mode in self._read().get("locks", ()):
            if mode == "x":
                db.put(replace(db.get(thing(number)), truth=truth))

    def _plan(self, db: Tx, spec: Spec) -> Plan:
        options: dict[str, Any] = {
            name: spec[name] for name in ("best_effort", "no_return", "timeout_s") if name in spec
        }
        if "retry" in spec:
            options["retry"] = Retry(spec["retry"], pause_s=0.5)
        match spec["kind"]:
            case "task":
                touches = tuple(thing(number) for number, mode in self._read().get("locks", ()) if mode == "x")
                return part(on_host(node(spec["host"]), _verb(spec), touches=touches), step=spec.get("step"), **options)
            case "command":
                return part(Work(spec=json.dumps(spec["spec"])), step=spec.get("step"), **options)
            case "sequence":
                return sequence(*(self._plan(db, each) for each in spec["parts"]))
            case "first_of":
                return first_of(*(self._plan(db, each) for each in spec["parts"]))
        parts = [self._plan(db, each) for each in spec["parts"]]
        return parallel(*parts, at_most=spec.get("at_most"), stop_on_failure=spec.get("stop_on_failure", False))

    def _read(self) -> Spec:
        spec: Spec = json.loads(self.spec)
        return spec


def _tasks(spec: Spec) -> list[Spec]:
    """The tasks of a plan, but not those of its commands."""
    if spec["kind"] == "task":
        return [spec]
    return [task for each in spec.get("parts", ()) for task in _tasks(each)]


def _verb(spec: Spec) -> Verb:
    id = spec["volume"]
    if spec["verb"] == "format":
        return StorageDomainCreate(storagedomainID=id, domainName="simulated", typeArgs="/simulated")
    if spec["verb"] == "delete":
        return _delete(id)
    return VolumeCreate(
        storagepoolID=BLANK_ID, storagedomainID=_DOMAIN, imageID=id, volumeID=id, size=512, volFormat=VolumeFormat.RAW
    )


def _delete(image_id: str) -> ImageDelete:
    return ImageDelete(storagepoolID=BLANK_ID, storagedomainID=_DOMAIN, imageID=image_id)


_DOMAIN = str(UUID(int=0x5D))


class Found(Command[None], name="sim.found"):
    """Makes the entities that every run begins with."""

    def execute(self, db: Tx) -> Plan:
        for number in range(HOSTS):
            db.add(Node(id=host(number), name=f"host{number}", port=port_of(number)))
        for number in range(THINGS):
            db.add(Thing(id=thing(number).id, name=f"thing{number}"))
        db.add(Tally(id=TALLY.id))
        return NOTHING


class Generated:
    """Trees of plans that nobody would write, of every kind that there is."""

    name = "generated"
    catalog = Catalog(Node, Thing, Tally, Work)
    found = (Catalog(Node, Thing, Tally, Found), Found())

    def submissions(self, chance: Random, count: int) -> list[Submission]:
        """What people submit in one run."""
        flows = Flows(chance)
        return [Submission("sim.work", {"spec": json.dumps(flows.command())}) for _ in range(count)]

    def untrue(self, connection: Connection, storages: Sequence[Storage], tasks: Sequence[TaskRecord]) -> Iterator[str]:
        """A thing says that the last job which held it alone is over, unless that was ended by force, which has left
        a leftover; no command has written over another's count."""
        forced = _things_of_forced(connection)
        query = select(entities.c.id, entities.c.name, entities.c.body_json).where(entities.c.type == "thing")
        for id, name, body in connection.execute(query):
            if json.loads(body)["truth"] == "changing" and id not in forced:
                yield f"6: {name} is still changing, and nobody changes it"
        (found,) = connection.scalars(select(entities.c.body_json).where(entities.c.type == "tally"))
        command = tables.command_entities.c
        ended = select(func.count()).where(command.name == Work.command_type.name, command.value_json == '"done"')
        counted, many = json.loads(found)["many"], connection.scalar(ended)
        if counted != many:
            yield f"10: {many} commands have ended well, and {counted} were counted"


def _things_of_forced(connection: Connection) -> set[UUID]:
    """What those commands had alone whose end phases never ran: somebody has ended them by force."""
    command = tables.command_entities.c
    is_work = command.name == Work.command_type.name  # and no group of its parts
    ended = select(command.parameters_json).where(is_work, command.forced_by.is_not(None))
    specs = [json.loads(json.loads(parameters)["spec"]) for parameters in connection.scalars(ended)]
    return {thing(number).id for spec in specs for number, mode in spec.get("locks", ()) if mode == "x"}


class Flows:
    """Makes specs: trees of plans, sequences, alternatives, best-effort parts, locks, times and retries."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def command(self, depth: int = 2, locks: range = range(THINGS)) -> Spec:
        chance = self._chance
        spec: Spec = {"plan": self._plan(depth)}
        if chance.random() < 0.6:
            numbers = chance.sample(locks, k=min(len(locks), chance.choice((1, 1, 2))))
            spec["locks"] = [(number, chance.choice("xxs")) for number in sorted(numbers)]
        if chance.random() < 0.03:
            spec["refused"] = True
        if chance.random() < 0.03:
            spec["raises"] = chance.choice(("error", "depth", "memory"))
        return spec

    def _plan(self, depth: int) -> Spec:
        chance = self._chance
        kind = chance.choice(("task", "task", "parallel", "sequence", "first_of") if depth else ("task",))
        if kind == "task":
            volume = str(UUID(int=chance.getrandbits(128)))
            spec = {"kind": "task", "host": chance.randrange(HOSTS), "verb": self._verb(), "volume": volume}
            return self._part(spec)
        parts = [self._piece(depth - 1) for _ in range(chance.randint(0 if kind == "parallel" else 1, 3))]
        group: Spec = {"kind": kind, "parts": parts}
        if kind == "parallel" and chance.random() < 0.5:
            group["at_most"] = chance.randint(1, 2)
        if kind == "parallel" and chance.random() < 0.5:
            group["stop_on_failure"] = True
        return group

    def _piece(self, depth: int) -> Spec:
        if self._chance.random() < 0.5:
            return self._plan(depth)
        late = self.command(depth, range(THINGS if self._chance.random() < 0.2 else 0))
        late["waits"] = self._chance.random() < 0.7
        return self._part({"kind": "command", "spec": late})

    def _part(self, spec: Spec) -> Spec:
        chance = self._chance
        if chance.random() < 0.5:
            spec["step"] = f"STEP_{chance.randrange(100)}"
        if chance.random() < 0.1:
            spec["best_effort"] = True
        if chance.random() < 0.05:
            spec["no_return"] = True
        if chance.random() < 0.1:
            spec["timeout_s"] = chance.choice((0.5, 5.0, 60.0))
        if chance.random() < 0.3 and spec["kind"] == "command":
            spec["retry"] = 2
        return spec

    def _verb(self) -> str:
        return self._chance.choice(("create", "create", "create", "delete", "format"))
