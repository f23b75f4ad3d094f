"""What a command must have before it begins: room under limits first, then locks.

Who waits for room draws no ticket for a lock that others could want meanwhile; who then waits for locks takes no room.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.catalog import Catalog
from interlock.command import Command, Reader
from interlock.coordinator import locking, room
from interlock.coordinator.locking import Acquisition
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.limits import LimitRecord, LimitUseRecord
from interlock.model.locks import Locks
from interlock.model.records import CommandRecord


def acquire(
    flow: Flow,
    row: CommandRecord,
    command: Command[Any],
    db: Reader,
    limits: Mapping[str, LimitRecord],
    snapshot: Snapshot,
    catalog: Catalog,
    now: int,
) -> tuple[Acquisition, Sequence[LimitUseRecord]]:
    """Both or neither; and what is to be removed with it, since it counts under those limits no more. Raises what the
    command's methods raise."""
    keys = room.keys_of(flow, row, command, db, limits, catalog)
    found = room.ask(flow, row, keys, limits, snapshot, now)
    if found.refusals or found.held_back:
        return Acquisition(found.refusals, is_waiting=True), ()
    acquired = locking.acquire(flow, row, _locks(row, command, db), limits, snapshot, now)
    if not found.keys or acquired.is_waiting or acquired.refusals:
        return acquired, ()
    room.take(flow, row, found.keys, now)
    return acquired, room.stale(found.keys, limits, snapshot, now)


def _locks(row: CommandRecord, command: Command[Any], db: Reader) -> Locks:
    """What its class says; who submitted it may have wished to wait."""
    locks = command.locks(db)
    return locks.waiting(locks.timeout_s) if row.options.waits_for_locks else locks
