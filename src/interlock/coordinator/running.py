"""One run: makes a change set over a connection. Called in a worker, or by the writer inside its transaction."""

from collections.abc import Callable

from sqlalchemy import Connection

from interlock.clock import Clock
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.runner import Runner
from interlock.coordinator.snapshot import Snapshot
from interlock.coordinator.work import Asked, Slot
from interlock.core.facts import Fact


def run_of(
    slot: Slot, facts: list[Fact], asked: Asked | None, world: World, clock: Clock
) -> Callable[[Connection], ChangeSet | None]:
    """A run of the slot: of what is written from outside, a submission, an errand, or facts. None: no change."""

    def run(connection: Connection) -> ChangeSet | None:
        snapshot = Snapshot(lambda: connection, world.catalog)
        try:
            made = _made(slot, facts, asked, world, snapshot, connection, clock.now_us())
            snapshot.require_whole()
            return made
        except BaseException:
            slot.flow.roll_back()
            raise

    return run


def _made(
    slot: Slot,
    facts: list[Fact],
    asked: Asked | None,
    world: World,
    snapshot: Snapshot,
    connection: Connection,
    now: int,
) -> ChangeSet | None:
    if slot.outside is not None:
        return slot.outside.make(snapshot, now)
    if slot.load is not None:
        slot.flow, slot.load = slot.load(connection), None
    runner = Runner(world, slot.flow, snapshot, now)
    if asked is not None:
        asked.errand(slot.flow)
        return runner.change_set(progress=False)
    if slot.submission is not None:
        runner.accept(slot.submission)
    runner.take(facts)
    return runner.change_set()
