"""Commands that need no host, for a real server."""

from dataclasses import replace
from enum import StrEnum
from typing import Any

from interlock import (  # fmt: skip
    Catalog,
    Command,
    Entity,
    Monitor,
    Plan,
    Reader,
    Ref,
    Refusals,
    Tx,
    approval,
    part,
    refuse,
    sequence,
    signal,
    until,
)


class Status(StrEnum):
    """Whether it may be removed."""

    #: it may
    DOWN = "DOWN"
    #: it may not
    UP = "UP"


class Box(Entity, type="box"):
    """A thing with a name."""

    status: Status = Status.DOWN


class AddBox(Command[Ref[Box]], name="box.add"):
    """Add a box."""

    name: str
    status: Status = Status.DOWN

    def title(self, db: Reader) -> str:
        return f"Add box {self.name}"

    def end_successfully(self, db: Tx) -> Ref[Box]:
        box = db.new(Box)
        db.add(Box(id=box.id, name=self.name, status=self.status))
        return box


class RemoveBox(Command[None], name="box.remove"):
    """Remove a box that is down."""

    box: Ref[Box]

    def validate(self, db: Reader) -> Refusals:
        box = db.get(self.box)
        if box.status is not Status.DOWN:
            yield refuse(f"box {box.name} is {box.status}; stop it first")
            yield refuse("and mind the other one")

    def end_successfully(self, db: Tx) -> None:
        db.remove(self.box)


class OpenBox(Command[Any], name="box.open"):
    """Wait for a box to come up, for its key, and for somebody who allows it."""

    box: Ref[Box]

    def title(self, db: Reader) -> str:
        return f"Open {db.get(self.box).name}"

    def execute(self, db: Tx) -> Plan:
        return sequence(
            part(until(self.is_up, watch=self.box), step="COME_UP"),
            part(signal("key", about=self.box), step="KEY"),
            part(approval("May it be opened?", permission="box.open", about=self.box), step="ASK"),
        )

    def is_up(self, db: Reader) -> bool:
        return db.get(self.box).status is Status.UP


def told(db: Tx, box: Ref[Box], report: dict[str, Status]) -> None:
    """What somebody saw of a box."""
    db.put(replace(db.get(box), status=report["status"]))


CATALOG = Catalog(AddBox, RemoveBox, OpenBox, Box, Monitor("box.seen", told))
