"""Invariants 19 to 21: what people see is what the commands are."""

from collections.abc import Iterator

from sqlalchemy import Connection, func, not_, or_, select

from interlock.model.states import Result, State, StepStatus
from interlock.store import tables

_job, _step, _event = tables.job, tables.step, tables.audit_log
_command, _task = tables.command_entities, tables.async_tasks
_unended = ("PENDING", "STARTED")

_SHOWN = {
    Result.SUCCEEDED: StepStatus.FINISHED,
    Result.FAILED: StepStatus.FAILED,
    Result.CANCELLED: StepStatus.ABORTED,
}


def shown_otherwise(connection: Connection) -> Iterator[str]:
    """19. A job has ended exactly when its flow command has, as that did; no step is open after its job, and
    the step of a command or a task is over exactly when that is."""
    query = (
        select(_job.c.id, _job.c.status, _job.c.result, _job.c.ended_at, _command.c.state, _command.c.result)
        .join(_command, _command.c.id == _job.c.id)
        .order_by(_job.c.id)
    )
    for id, status, shown, ended_at, state, result in connection.execute(query):
        if shown is not result or (ended_at is None) is (state is State.ENDED):
            yield f"job {id} shows result {shown} and end time {ended_at}, its command is {state} {result}"
        elif result is not None and status is not _SHOWN[result]:
            yield f"job {id} is {status}, its command ended {result}"
    outlived = (
        select(_step.c.id, _step.c.status, _job.c.id)
        .join(_job, _job.c.id == _step.c.job_id)
        .where(_job.c.ended_at.is_not(None), _step.c.status.in_(_unended))
    )
    for id, status, job in connection.execute(outlived):
        yield f"step {id} is {status} and its job {job} has ended"
    for part, over in ((_command, _command.c.state == State.ENDED), (_task, _task.c.outcome.is_not(None))):
        differing = (
            select(_step.c.id, _step.c.status, part.c.state)
            .join(part, part.c.id == _step.c.id)
            .where(_step.c.status.in_(_unended) == over, _step.c.parent_step_id.is_not(None))
        )
        for id, status, state in connection.execute(differing):
            yield f"step {id} is {status}, what it shows is {state}"


def progress_out_of_bounds(connection: Connection) -> Iterator[str]:
    """20. Progress is a percentage, and whole where something finished."""
    for table, done in (
        (_job, _job.c.result == Result.SUCCEEDED),
        (_step, _step.c.status == StepStatus.FINISHED),
        (_task, _task.c.outcome == "SUCCEEDED"),
    ):
        wrong = or_(not_(table.c.progress.between(0, 100)), done & (table.c.progress != 100))
        for id, progress in connection.execute(select(table.c.id, table.c.progress).where(wrong)):
            yield f"{table.name} {id} shows a progress of {progress}"


def event_gaps(connection: Connection) -> Iterator[str]:
    """21. The events of a flow are 1, 2, … as many as its job counts, in the order of the whole log."""
    many, last = func.count(_event.c.id), func.max(_event.c.seq)
    query = (
        select(_job.c.id, _job.c.events, many, func.coalesce(last, 0))
        .outerjoin(_event, _event.c.flow_id == _job.c.id)
        .group_by(_job.c.id, _job.c.events)
        .having((many != _job.c.events) | (func.coalesce(last, 0) != _job.c.events))
    )
    for id, counted, found, highest in connection.execute(query):
        yield f"job {id} counts {counted} events; there are {found}, the last numbered {highest}"
    later = _event.alias("later")
    query = select(_event.c.flow_id, later.c.seq).join(
        later, (later.c.flow_id == _event.c.flow_id) & (later.c.seq == _event.c.seq + 1)
    )
    for flow, seq in connection.execute(query.where(later.c.id < _event.c.id)):
        yield f"event {seq} of flow {flow} stands in the log before the one that precedes it"
