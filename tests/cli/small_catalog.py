"""Commands that need no host, for a real server."""

from enum import StrEnum

from interlock import Catalog, Command, Entity, Reader, Ref, Refusals, Tx, refuse


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


CATALOG = Catalog(AddBox, RemoveBox, Box)
