"""Commands that need no host and do what the test reports, for a real server whose jobs are steered."""

from dataclasses import replace
from enum import StrEnum

from interlock import (
    NOTHING,
    Catalog,
    Command,
    Entity,
    Locks,
    Monitor,
    Plan,
    Reader,
    Ref,
    Refused,
    Tx,
    exclusive,
    part,
    sequence,
    until,
)


class Status(StrEnum):
    """What is seen of a box."""

    #: neither of the others
    DOWN = "DOWN"
    #: as it should be
    UP = "UP"
    #: who waits for it fails
    BROKEN = "BROKEN"


class Box(Entity, type="box"):
    """A thing with a name; `log` is what commands did to it, a word each."""

    status: Status = Status.DOWN
    log: str = ""


class AddBox(Command[None], name="box.add"):
    """Add a box."""

    name: str
    status: Status = Status.DOWN

    def end_successfully(self, db: Tx) -> None:
        db.add(Box(id=db.new(Box).id, name=self.name, status=self.status))


def note(db: Tx, box: Ref[Box], word: str) -> None:
    """One more word in the log."""
    found = db.get(box)
    db.put(replace(found, log=f"{found.log} {word}".strip()))


class Prepare(Command[None], name="box.prepare"):
    """What is undone where the rest fails."""

    box: Ref[Box]

    def end_successfully(self, db: Tx) -> None:
        note(db, self.box, "prepared")

    def compensate(self, db: Tx) -> Plan:
        note(db, self.box, "undone")
        return NOTHING


class ComeUp(Command[None], name="box.come_up"):
    """Waits until the box is up."""

    box: Ref[Box]

    def execute(self, db: Tx) -> Plan:
        return part(until(self.is_up, watch=self.box))

    def is_up(self, db: Reader) -> bool:
        box = db.get(self.box)
        if box.status is Status.BROKEN:
            raise Refused(f"box {box.name} is broken")
        return box.status is Status.UP


class StartBox(Command[None], name="box.start", resumable=True, skippable=True):
    """Prepare a box and wait until it is up, alone."""

    box: Ref[Box]
    word: str = "started"

    def title(self, db: Reader) -> str:
        return f"Start {db.get(self.box).name}: {self.word}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.box).waiting()

    def execute(self, db: Tx) -> Plan:
        return sequence(
            part(Prepare(box=self.box), step="PREPARE"),
            part(ComeUp(box=self.box), step="COME_UP"),
            part(Prepare(box=self.box), step="FINISH"),
        )

    def end_successfully(self, db: Tx) -> None:
        note(db, self.box, self.word)


def told(db: Tx, box: Ref[Box], report: dict[str, Status]) -> None:
    """What somebody saw of a box."""
    db.put(replace(db.get(box), status=report["status"]))


CATALOG = Catalog(AddBox, Prepare, ComeUp, StartBox, Box, Monitor("box.seen", told))
