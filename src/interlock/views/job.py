"""One job, whole: steps, commands, tasks, failure, result, leftovers, locks, what people did, events."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, JobRecord, StepRecord, TaskRecord
from interlock.model.states import StepStatus
from interlock.store.tables import async_tasks, command_entities, job, step
from interlock.views import actions, events, formers, leftovers, locks
from interlock.views.jobs import summaries
from interlock.views.loading import records
from interlock.views.words import Json, moment, refs, text, value


def one(connection: Connection, job_id: UUID) -> Json | None:
    """Everything of a job, its last events included; None where there is no such job."""
    shown = brief(connection, job_id)
    if shown is None:
        return None
    commands = records(
        connection,
        CommandRecord,
        command_entities.c.flow_id == job_id,
        order_by=[command_entities.c.depth, command_entities.c.position, command_entities.c.id],
    )
    tasks = records(
        connection,
        TaskRecord,
        async_tasks.c.flow_id == job_id,
        order_by=[async_tasks.c.created_at, async_tasks.c.command_id, async_tasks.c.position],
    )
    return {
        **shown,
        "commands": [_command(each) for each in commands],
        "tasks": [_task(each) for each in tasks],
        "locks": locks.of_job(connection, job_id),
        "after": formers.of_job(connection, job_id),
        "actions": actions.of_job(connection, job_id),
        "events": events.last(connection, job_id),
    }


def brief(connection: Connection, job_id: UUID) -> Json | None:
    """What one follows while it runs: steps, failure, result, leftovers; without commands, tasks, locks and
    events."""
    found = records(connection, JobRecord, job.c.id == job_id)
    if not found:
        return None
    (record,) = found
    root = records(connection, CommandRecord, command_entities.c.id == job_id)
    return {
        **summaries(connection, found)[0],
        "idempotency_key": record.idempotency_key,
        "schedule_id": text(record.schedule_id),
        "parameters": value(record.parameters_json),
        "steps": _steps(connection, record),
        "failure": _failure(root[0].failure_json) if root else None,
        "value": value(root[0].value_json) if root else None,
        "leftovers": leftovers.of_job(connection, job_id),
        "events_total": record.events,
    }


def _steps(connection: Connection, record: JobRecord) -> list[Json]:
    """The tree of steps; each level in the plan's order."""
    found = records(connection, StepRecord, step.c.job_id == record.id, order_by=[step.c.position, step.c.id])
    below: dict[UUID | None, list[StepRecord]] = {}
    for each in found:
        below.setdefault(each.parent_step_id, []).append(each)

    def grow(steps: Iterable[StepRecord]) -> list[Json]:
        return [_step(each, record) | {"steps": grow(below.get(each.id, ()))} for each in steps]

    return grow(below.get(None, ()))


def _step(record: StepRecord, owner: JobRecord) -> Json:
    never_reached = record.status is StepStatus.PENDING and owner.ended_at is not None
    return {
        "id": str(record.id),
        "name": record.name,
        "title": record.title,
        "status": StepStatus.NOT_STARTED if never_reached else record.status,
        "progress": record.progress,
        "weight": record.weight,
        "started_at": moment(record.started_at),
        "ended_at": moment(record.ended_at),
        "external_system": record.external_system,
        "external_id": record.external_id,
        "refs": refs(record.refs),
    }


def _command(record: CommandRecord) -> Json:
    return {
        "id": str(record.id),
        "parent_id": text(record.parent_id),
        "depth": record.depth,
        "position": record.position,
        "key": record.key,
        "role": record.role,
        "name": record.name,
        "version": record.version,
        "title": record.title,
        "refs": refs(record.refs),
        "state": record.state,
        "result": record.result,
        "best_effort": record.best_effort,
        "undo": record.undo,
        "phase": record.phase,
        "attempts": record.attempts,
        "retry_at": moment(record.retry_at),
        "deadline_at": moment(record.deadline_at),
        "stopping": record.stopping,
        "stopped_by": record.stopped_by,
        "attention": record.attention,
        "asking": record.asking,
        "skipped_by": record.skipped_by,
        "forced_by": record.forced_by,
        "failure": _failure(record.failure_json),
        "created_at": moment(record.created_at),
        "started_at": moment(record.started_at),
        "ended_at": moment(record.ended_at),
    }


def _task(record: TaskRecord) -> Json:
    """In the seeds' words: `state` is ours (Initializing … Cleared), `status` and `result` are the host's."""
    return {
        "id": str(record.id),
        "command_id": str(record.command_id),
        "role": record.role,
        "position": record.position,
        "method": record.method,
        "host": None if record.host is None else str(record.host),
        "refs": refs(record.refs),
        "state": record.state,
        "status": record.host_state,
        "result": record.host_result,
        "outcome": record.outcome,
        "code": record.code,
        "message": record.message,
        "progress": record.progress,
        "best_effort": record.best_effort,
        "host_task_id": record.host_task_id,
        "waits_for": value(record.wait_json),
        "deadline_at": moment(record.deadline_at),
        "stopping": record.stopping,
        "stopped_by": record.stopped_by,
        "stalled_at": moment(record.stalled_at),
        "created_at": moment(record.created_at),
        "sent_at": moment(record.sent_at),
        "ended_at": moment(record.ended_at),
    }


def _failure(json_text: str | None) -> dict[str, Any] | None:
    return None if json_text is None else asdict(Failure.from_json(json_text))
