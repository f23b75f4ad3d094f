"""A healthy database: one flow that succeeded, one that failed and was compensated, one under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from interlock.model.actions import Action, job_ref
from interlock.model.changes import Change, Record
from interlock.model.locks import LockMode
from interlock.model.records import (
    ActionRecord,
    CommandRecord,
    EntityRecord,
    EntityRefRecord,
    EventRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    Role,
    Severity,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
    Undo,
)
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Phase, Result, State, StepStatus, TaskState
from interlock.store.database import Database
from interlock.store.flush import flush

VM: Ref[Any] = Ref("vm", UUID(int=0x11))
DISK: Ref[Any] = Ref("disk", UUID(int=0x12))
HOST: Ref[Any] = Ref("host", UUID(int=0x13))
GOOD, BAD, OPEN = UUID(int=0xA0), UUID(int=0xB0), UUID(int=0xC0)
FIRST, SECOND, GOOD_TASK = UUID(int=0xA1), UUID(int=0xA2), UUID(int=0xA3)
DONE, FAILED, UNDOING, LOST, UNDO_TASK = (UUID(int=0xB0 + n) for n in range(1, 6))
RUNNING, POLLED = UUID(int=0xC1), UUID(int=0xC2)


def job(id: UUID, result: Result | None, events: int) -> JobRecord:
    status = {Result.SUCCEEDED: StepStatus.FINISHED, Result.FAILED: StepStatus.FAILED}
    return JobRecord(
        id, "vm.remove", "Remove VM", status[result] if result else StepStatus.STARTED, f"ticket-{id.int}",
        "admin", "{}", (VM,), 1, 9, ended_at=9 if result else None, result=result, events=events,
        progress=100 if result is Result.SUCCEEDED else 20,
    )  # fmt: skip


def command(id: UUID, flow: UUID, parent: UUID | None, position: int = 0, **fields: Any) -> CommandRecord:
    return CommandRecord(
        id=id, flow_id=flow, parent_id=parent, correlation_id=f"ticket-{flow.int}", name="image.remove",
        version=1, parameters_json="{}", refs=(DISK,), title="Remove", depth=0 if parent is None else 1,
        role=fields.pop("role", Role.FORWARD), key=f"k{position}", position=position,
        after=fields.pop("after", ()), step="Removing", weight=1, best_effort=False, created_at=1,
        started_at=2, **fields,
    )  # fmt: skip


def ended(id: UUID, flow: UUID, parent: UUID | None, place: int, result: Result, **fields: Any) -> CommandRecord:
    return command(
        id, flow, parent, state=State.ENDED, result=result, ended_seq=place, ended_at=3 + place,
        phase=Phase.END_SUCCESSFULLY if result is Result.SUCCEEDED else Phase.END_WITH_FAILURE,
        phase_ran=True, failure_json=None if result is Result.SUCCEEDED else '{"message":"no","causes":[]}', **fields,
    )  # fmt: skip


def task(id: UUID, flow: UUID, owner: UUID, outcome: Outcome | None, **fields: Any) -> TaskRecord:
    return TaskRecord(
        id=id, flow_id=flow, command_id=owner, correlation_id=f"ticket-{flow.int}",
        role=fields.pop("role", Role.FORWARD), undoes=fields.pop("undoes", None), position=0, host=HOST,
        method="Image.delete", arguments_json="{}", refs=(DISK,), is_async=True, is_mutating=True,
        step="Deleting", weight=1, best_effort=False, created_at=2,
        state=TaskState.CLEARED if outcome else TaskState.POLLING,
        outcome=outcome, progress=100 if outcome is Outcome.SUCCEEDED else 20, ended_at=4 if outcome else None,
    )  # fmt: skip


def step(id: UUID, flow: UUID, parent: UUID | None, status: StepStatus) -> StepRecord:
    return StepRecord(
        id, flow, parent, "Removing", "Remove", 0, status, f"ticket-{flow.int}", started_at=2,
        progress=100 if status is StepStatus.FINISHED else 20,
        ended_at=None if status is StepStatus.STARTED else 5,
    )  # fmt: skip


def events(flow: UUID, *kinds: str) -> list[Record]:
    return [
        EventRecord(flow, seq, seq, Severity.INFO, kind, kind, f"ticket-{flow.int}", None, flow)
        for seq, kind in enumerate(kinds, 1)
    ]


def rows() -> list[Record]:
    """All rows of the three flows and of the entities."""
    good = [
        job(GOOD, Result.SUCCEEDED, 2),
        ended(GOOD, GOOD, None, 3, Result.SUCCEEDED),
        ended(FIRST, GOOD, GOOD, 1, Result.SUCCEEDED),
        ended(SECOND, GOOD, GOOD, 2, Result.SUCCEEDED, position=1, after=(0,)),
        task(GOOD_TASK, GOOD, FIRST, Outcome.SUCCEEDED),
        step(GOOD, GOOD, None, StepStatus.FINISHED),
        step(FIRST, GOOD, GOOD, StepStatus.FINISHED),
        step(GOOD_TASK, GOOD, FIRST, StepStatus.FINISHED),
        *events(GOOD, "job_accepted", "job_ended"),
    ]
    bad = [
        job(BAD, Result.FAILED, 3),
        ended(BAD, BAD, None, 4, Result.FAILED, has_leftovers=True),
        ended(DONE, BAD, BAD, 1, Result.SUCCEEDED, undo=Undo.DONE),
        ended(FAILED, BAD, BAD, 2, Result.FAILED, position=1, after=(0,), has_leftovers=True),
        ended(UNDOING, BAD, BAD, 3, Result.SUCCEEDED, role=Role.UNDO, undoes=DONE),
        task(LOST, BAD, FAILED, Outcome.LOST),
        task(UNDO_TASK, BAD, BAD, Outcome.SUCCEEDED, role=Role.UNDO, undoes=DONE),
        step(BAD, BAD, None, StepStatus.FAILED),
        LeftoverRecord(LOST, BAD, FAILED, LOST, f"ticket-{BAD.int}", str(HOST), (DISK,), "lost", "look", 4),
        LockRecord(DISK, BAD, LockMode.EXCLUSIVE, FAILED, 2, LOST),
        *events(BAD, "job_accepted", "leftover_made", "job_ended"),
    ]
    under_way = [
        job(OPEN, None, 1),
        command(OPEN, OPEN, None, state=State.EXECUTING, open=2),
        command(RUNNING, OPEN, OPEN, state=State.EXECUTING, open=1),
        task(POLLED, OPEN, RUNNING, None),
        step(OPEN, OPEN, None, StepStatus.STARTED),
        step(RUNNING, OPEN, OPEN, StepStatus.STARTED),
        LockRecord(VM, OPEN, LockMode.EXCLUSIVE, OPEN, 2),
        SnapshotRecord(OPEN, OPEN, VM, 0, "{}", "{}"),
        *events(OPEN, "job_accepted"),
    ]
    waiting = replace(command(UUID(int=0xC3), OPEN, OPEN, 1, after=(0,)), started_at=None)
    entities: list[Record] = [EntityRecord(VM, 1, 0, "web1", None, 1, "{}"), EntityRefRecord(VM, "disks", DISK)]
    return [*good, *bad, *under_way, waiting, *entities, *map(submitted, (GOOD, BAD, OPEN))]


def submitted(id: UUID) -> ActionRecord:
    """That its user submitted the job."""
    return ActionRecord(UUID(int=id.int + 0xAC00), 1, "admin", Action.JOB_SUBMIT, job_ref(id), f"ticket-{id.int}")


@contextmanager
def healthy(url: str) -> Iterator[Database]:
    """An empty database, with `rows`."""
    with Database.open(url) as database:
        with database.writer().begin():
            flush(database.writer(), [Change(None, row) for row in rows()])
        yield database
