"""A catalog for the kill loops: a relay of five legs, by turns on two hosts, each an image made; and their undoing."""

from dataclasses import replace
from enum import StrEnum
from uuid import UUID

from interlock import (
    NOTHING,
    Catalog,
    Command,
    Entity,
    Failure,
    Locks,
    Plan,
    Reader,
    Ref,
    Result,
    Tx,
    exclusive,
    on_host,
    part,
    sequence,
    shared,
)
from interlock.vdsm import ImageDelete, Preallocate, Verb, VolumeCopy, VolumeCreate, VolumeFormat
from interlock.virt.commands.host import AddHost
from interlock.virt.commands.storage import AddStorageDomain
from interlock.virt.entities import Host, StorageDomain

LEGS = 5
#: bytes of the legs' images
SIZE = 1 << 20
#: more bytes than any disk of the tests has: an image of that size, written in full, cannot be made
TOO_MUCH = 1 << 50


class LegStatus(StrEnum):
    """Whether the leg's image is there."""

    #: it may be, in part
    MAKING = "MAKING"
    #: it is, whole
    MADE = "MADE"


class Relay(Entity, type="relay"):
    """`undone` is the ledger: the number of each leg whose undoing has ended, in that order."""

    undone: tuple[int, ...] = ()
    result: str = ""


class Leg(Entity, type="leg"):
    """One part's image, whose ids were chosen before any part began."""

    relay: Ref[Relay]
    number: int
    domain: Ref[StorageDomain]
    image_id: UUID
    volume_id: UUID
    #: the leg whose image this one's is a copy of; None = it is made empty
    source: "Ref[Leg] | None"
    status: LegStatus = LegStatus.MAKING


class RunRelay(Command[None], name="relay.run"):
    """Make five images, one after another: 1, 3 and 5 on the first domain's host, 2 and 4 on the second's.

    With `fails` the last cannot be made. `no_return` is the number of the leg past which nothing is undone, 0 = none.
    """

    name: str
    first: Ref[StorageDomain]
    second: Ref[StorageDomain]
    fails: bool = False
    no_return: int = 0

    def title(self, db: Reader) -> str:
        return f"Run relay {self.name}"

    def locks(self, db: Reader) -> Locks:
        return shared(self.first, self.second, db.get(self.first).host, db.get(self.second).host)

    def execute(self, db: Tx) -> Plan:
        relay, legs = db.new(Relay), [db.new(Leg) for _ in range(LEGS)]
        db.add(Relay(id=relay.id, name=self.name))
        for index, ref in enumerate(legs):
            leg = Leg(
                id=ref.id,
                relay=relay,
                number=index + 1,
                domain=self.second if index % 2 else self.first,
                image_id=db.new(Leg).id,
                volume_id=db.new(Leg).id,
                source=legs[index - 2] if index >= 2 else None,
            )
            db.add(leg)
        return sequence(
            *(
                part(
                    RunLeg(leg=ref, fails=self.fails and number == LEGS),
                    step=f"LEG_{number}",
                    no_return=number == self.no_return,
                )
                for number, ref in enumerate(legs, 1)
            )
        )

    def end_successfully(self, db: Tx) -> None:
        self._end(db, "arrived")

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        self._end(db, "failed")
        return NOTHING

    def _end(self, db: Tx, result: str) -> None:
        relay = db.named(Relay, self.name)
        assert relay is not None
        for child in db.children(RunLeg):
            if child.result is Result.CANCELLED:
                db.remove(child.command.leg)  # it never began
        db.put(replace(relay, result=relay.result + result))


class RunLeg(Command[None], name="relay.run_leg"):
    """Make the image of one leg, on the host of its domain."""

    leg: Ref[Leg]
    fails: bool = False

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.leg) + shared(db.get(self.leg).domain)

    def execute(self, db: Tx) -> Plan:
        leg = db.get(self.leg)
        return part(on_host(db.get(leg.domain).host, self._verb(db, leg), touches=(self.leg,)))

    def _verb(self, db: Tx, leg: Leg) -> Verb:
        pool = str(db.get(leg.domain).pool_id)
        if leg.source is not None and not self.fails:
            source = db.get(leg.source)
            return VolumeCopy(
                storagepoolID=pool,
                storagedomainID=str(leg.domain.id),
                imageID=str(source.image_id),
                volumeID=str(source.volume_id),
                dstSdUUID=str(leg.domain.id),
                dstImgUUID=str(leg.image_id),
                dstVolUUID=str(leg.volume_id),
            )
        return VolumeCreate(
            storagepoolID=pool,
            storagedomainID=str(leg.domain.id),
            imageID=str(leg.image_id),
            volumeID=str(leg.volume_id),
            size=TOO_MUCH if self.fails else SIZE,
            volFormat=VolumeFormat.RAW if self.fails else VolumeFormat.COW,
            preallocate=Preallocate.PREALLOCATED if self.fails else Preallocate.SPARSE,
        )

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.leg), status=LegStatus.MADE))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if not any(cause.leftover for cause in failure.causes):
            db.remove(self.leg)  # there certainly is no image
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return part(UndoLeg(leg=self.leg), step="UNDO_LEG")


class UndoLeg(Command[None], name="relay.undo_leg"):
    """Remove the image of one leg, and write that down in the ledger."""

    leg: Ref[Leg]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.leg) + shared(db.get(self.leg).domain)

    def execute(self, db: Tx) -> Plan:
        leg = db.get(self.leg)
        domain = db.get(leg.domain)
        verb = ImageDelete(storagepoolID=str(domain.pool_id), storagedomainID=str(domain.id), imageID=str(leg.image_id))
        return part(on_host(domain.host, verb, touches=(self.leg,)))

    def end_successfully(self, db: Tx) -> None:
        leg = db.get(self.leg)
        relay = db.get(leg.relay)
        db.put(replace(relay, undone=(*relay.undone, leg.number)))
        db.remove(self.leg)


CATALOG = Catalog(Host, StorageDomain, AddHost, AddStorageDomain, Relay, Leg, RunRelay, RunLeg, UndoLeg)
