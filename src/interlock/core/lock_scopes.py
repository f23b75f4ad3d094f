"""How long a flow keeps a lock: to its end, or until the command that took it has executed with success."""

from collections.abc import Iterator
from uuid import UUID

from interlock.core.ending import untouchable
from interlock.core.flow import Flow
from interlock.model.locks import LockScope
from interlock.model.records import CommandRecord, LockRecord
from interlock.model.replacing import replace
from interlock.model.states import State

#: a command that has not failed yet
_ON_ITS_WAY = frozenset({State.PENDING, State.VALIDATING, State.EXECUTING})


def asked_again(flow: Flow, held: LockRecord, command_id: UUID, scope: LockScope) -> LockRecord:
    """A lock that its flow holds, after a command has asked for it with that scope: it is kept for the longer.

    One that two commands need while they execute is kept while the nearest command above both does.
    """
    if held.scope is LockScope.COMMAND:
        return held
    if scope is LockScope.COMMAND or flow.commands[held.command_id].state not in _ON_ITS_WAY:
        return replace(held, scope=LockScope.COMMAND)
    above = set(_upwards(flow, held.command_id))
    nearest = next(id for id in _upwards(flow, command_id) if id in above)
    return held if nearest == held.command_id else replace(held, command_id=nearest)


def _upwards(flow: Flow, command_id: UUID) -> Iterator[UUID]:
    id: UUID | None = command_id
    while id is not None:
        yield id
        id = flow.commands[id].parent_id


def executed(flow: Flow, command: CommandRecord) -> None:
    """All parts of a command have succeeded: what it held for that long is free, but for what a task of unknown
    fate may still touch."""
    mine = [lock for lock in flow.passing_locks(command.id) if lock.command_id == command.id]
    refusing = untouchable(flow) if mine else {}
    for lock in mine:
        if lock.ref in refusing:
            flow.put_lock(replace(lock, scope=LockScope.COMMAND))
        else:
            flow.drop_lock(lock.ref)
