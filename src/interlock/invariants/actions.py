"""Invariant 24: every change by a person is in the audit log, and the log is as it was written."""

from collections.abc import Iterator
from functools import cache
from itertools import chain as in_turn
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, bindparam, select, tuple_

from interlock.model.actions import Action
from interlock.model.records import ActionRecord
from interlock.store import tables
from interlock.store.chain import FIRST, digest_of
from interlock.store.codec import read

_action, _head, _event = tables.actions, tables.actions_head, tables.audit_log
_job, _command, _task, _leftover = tables.job, tables.command_entities, tables.async_tasks, tables.leftovers

#: by what action what is under way comes to an end
_ENDS = (Action.JOB_CANCEL, Action.JOB_STOP, Action.JOB_FORCE, Action.JOB_FORCE_SUCCESS, Action.JOB_FORCE_FAILURE)
#: which column of which rows names a person, when that was at the latest, and by what action it was written
_NAMED: tuple[tuple[Table, Column[str], Column[int], tuple[Action, ...]], ...] = (
    (_command, _command.c.forced_by, _command.c.ended_at, _ENDS),
    (_command, _command.c.stopped_by, _command.c.created_at, _ENDS),
    (_command, _command.c.skipped_by, _command.c.created_at, (Action.JOB_SKIP,)),
    (_task, _task.c.stopped_by, _task.c.created_at, _ENDS),
    (_job, _job.c.paused_by, _job.c.updated_at, (Action.JOB_PAUSE,)),
    (_leftover, _leftover.c.cleared_by, _leftover.c.cleared_at, (Action.LEFTOVER_CLEAR,)),
)
#: by what action jobs begin; what they begin themselves, and what a schedule does, has its correlation id
_BEGINS = (Action.JOB_SUBMIT, Action.JOB_RESTART, Action.SCHEDULE_CREATE, Action.SCHEDULE_CHANGE)


def not_as_done(connection: Connection) -> Iterator[str]:
    """24. Every change by a person is in the audit log, whose lines are as they were written."""
    return in_turn(_chain_broken(connection), _not_told(connection))


def digest_is_known(connection: Connection, digest: str) -> bool:
    """Whether an action has that digest; where the chain holds, nothing up to it has been changed since."""
    return connection.scalar(select(_action.c.number).where(_action.c.digest == digest).limit(1)) is not None


def _chain_broken(connection: Connection) -> Iterator[str]:
    number, former = 0, FIRST
    for row in connection.execute(select(_action).order_by(_action.c.number)).mappings():
        action: ActionRecord = read(ActionRecord, dict(row))
        if row["number"] != number + 1:
            yield f"actions are missing: after number {number} comes {row['number']}"
            former = ""
        number = row["number"]
        if former and digest_of(number, action, former) != row["digest"]:
            words = "it or the one before it is not as it was written"
            yield f"action {number} ({action.what} of {action.subject} by {action.by}): {words}"
        former = row["digest"]
    head = connection.execute(select(_head.c.number, _head.c.digest)).one_or_none()
    noted, digest = (0, FIRST) if head is None else head
    if noted != number:
        yield f"the last action is number {number}, but {noted} were written"
    elif digest != former:
        yield f"the last action, number {number}, is not the one that was written"


def _not_told(connection: Connection) -> Iterator[str]:
    """What people did of which no action tells. Who began or did it, and its correlation id, are those of an action."""
    since = {"since": connection.scalar(select(_head.c.since)) or 0}
    jobs, events, named = _untold()
    for id, user in connection.execute(jobs, since):
        yield f"job {id} was submitted by {user}, of which no action tells"
    for flow, seq, kind, user in connection.execute(events, since):
        yield f"event {seq} of job {flow} ({kind}) names {user}, of whom no action tells"
    for (table, person, _, _), query in zip(_NAMED, named, strict=True):
        for id, who in connection.execute(query, since):
            yield f"{table.name} {id}: {person.name} is {who}, and no action tells of it"


@cache
def _untold() -> tuple[Select[Any], Select[Any], list[Select[Any]]]:
    """The jobs, the events, and the rows of each of _NAMED of which no action tells, though they are of after
    `since`."""
    since = bindparam("since", type_=_head.c.since.type)
    told = select(_action.c.by, _action.c.correlation_id).where(_action.c.correlation_id.is_not(None))
    begun = tuple_(_job.c.user, _job.c.correlation_id).in_(told.where(_action.c.what.in_(_BEGINS)))
    before = _job.alias()  # what a job from before there were actions begins has its user and correlation id too
    former = select(before.c.user, before.c.correlation_id).where(before.c.started_at <= since)
    followed = tuple_(_job.c.user, _job.c.correlation_id).in_(former)
    untold = (_job.c.user != "", _job.c.started_at > since, ~begun, ~followed)
    jobs = select(_job.c.id, _job.c.user).where(*untold)
    by_person = (_event.c.user != "", _event.c.kind != "job_accepted", _event.c.at > since)
    unknown = ~tuple_(_event.c.user, _event.c.correlation_id).in_(told)
    events = select(_event.c.flow_id, _event.c.seq, _event.c.kind, _event.c.user).where(*by_person, unknown)
    named = []
    for table, person, at, by_what in _NAMED:
        unknown = ~tuple_(person, table.c.correlation_id).in_(told.where(_action.c.what.in_(by_what)))
        named.append(select(table.c.id, person).where(person != "", at > since, unknown))
    return jobs, events, named
