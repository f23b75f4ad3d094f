"""A small database of hand-made rows: one job that failed with a leftover, one that runs."""

import json
from dataclasses import replace
from uuid import UUID

from interlock.model.actions import Action, job_ref
from interlock.model.changes import Change, Record
from interlock.model.failure import Cause, Failure
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
    StepRecord,
    TaskRecord,
)
from interlock.model.refs import Ref
from interlock.model.schedules import Missed, ScheduleRecord
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState
from interlock.store.database import Database
from interlock.store.flush import flush

#: 2026-01-01T00:00:00Z
START = 1_767_225_600_000_000
SECOND = 1_000_000

FAILED_JOB, RUNNING_JOB = UUID(int=1), UUID(int=2)
CHILD, TASK = UUID(int=21), UUID(int=22)
LEFTOVER = UUID(int=31)
SCHEDULE = UUID(int=71)
STEP_VALIDATING, STEP_EXECUTING, STEP_FINALIZING = UUID(int=41), UUID(int=42), UUID(int=43)
FAILED_STEP_EXECUTING, FAILED_STEP_FINALIZING = UUID(int=44), UUID(int=45)
VM: Ref[object] = Ref("vm", UUID(int=51))
DISK: Ref[object] = Ref("disk", UUID(int=52))
HOST: Ref[object] = Ref("host", UUID(int=53))

FAILURE = Failure(
    "the image is gone",
    (
        Cause(
            "it was removed by hand",
            ("vm.remove", "disk.remove"),
            (str(DISK),),
            "h1",
            268,
            "look at h1",
            True,
            Outcome.FAILED,
        ),
    ),
)

failed_job = JobRecord(
    FAILED_JOB, "disk.remove", "Remove disk d1", StepStatus.FAILED, "ticket-1", "ann", '{"disk":"d1"}',
    (DISK,), START, START + 3 * SECOND, START + 3 * SECOND, Result.FAILED, 40, "key-1", "digest", events=2,
    schedule_id=SCHEDULE,
)  # fmt: skip
running_job = JobRecord(
    RUNNING_JOB, "vm.remove", "Remove VM web1", StepStatus.STARTED, "ticket-2", "ann", '{"vm":"web1"}',
    (VM,), START + 10 * SECOND, START + 12 * SECOND, progress=42, events=3,
)  # fmt: skip
failed_command = CommandRecord(
    FAILED_JOB, FAILED_JOB, None, "ticket-1", "disk.remove", 1, "{}", (DISK,), "Remove disk d1", 0,
    Role.FORWARD, "disk.remove", 0, (), None, 1, False, START, state=State.ENDED, result=Result.FAILED,
    ended_seq=1, failure_json=FAILURE.to_json(), has_leftovers=True, started_at=START,
    ended_at=START + 3 * SECOND,
)  # fmt: skip
running_command = CommandRecord(
    RUNNING_JOB, RUNNING_JOB, None, "ticket-2", "vm.remove", 2, "{}", (VM,), "Remove VM web1", 0,
    Role.FORWARD, "vm.remove", 0, (), None, 1, False, START + 10 * SECOND, state=State.EXECUTING, open=1,
    started_at=START + 10 * SECOND, deadline_at=START + 3610 * SECOND,
)  # fmt: skip
child = CommandRecord(
    CHILD, RUNNING_JOB, RUNNING_JOB, "ticket-2", "disk.remove_image", 1, "{}", (DISK,), "Remove image d1", 1,
    Role.FORWARD, "disk.remove_image:0", 0, (), "DELETE_IMAGE", 1, False, START + 10 * SECOND,
    state=State.EXECUTING, open=1, started_at=START + 11 * SECOND,
)  # fmt: skip
task = TaskRecord(
    TASK, RUNNING_JOB, CHILD, "ticket-2", Role.FORWARD, None, 0, HOST, "Image.delete", "{}", (DISK,),
    True, True, None, 1, False, START + 11 * SECOND, TaskState.POLLING, host_task_id="t-1",
    host_state="running", host_result="", code=0, message="running job 1 of 1", progress=42,
    sent_at=START + 11 * SECOND, stalled_at=START + 12 * SECOND,
)  # fmt: skip
steps = (
    StepRecord(STEP_VALIDATING, RUNNING_JOB, None, "VALIDATING", "Validating", 0, StepStatus.FINISHED,
               "ticket-2", 1, 100, START + 10 * SECOND, START + 10 * SECOND),
    StepRecord(STEP_EXECUTING, RUNNING_JOB, None, "EXECUTING", "Executing", 1, StepStatus.STARTED,
               "ticket-2", 1, 42, START + 10 * SECOND),
    StepRecord(CHILD, RUNNING_JOB, STEP_EXECUTING, "DELETE_IMAGE", "Remove image d1", 0, StepStatus.STARTED,
               "ticket-2", 1, 42, START + 11 * SECOND, refs=(DISK,)),
    StepRecord(STEP_FINALIZING, RUNNING_JOB, None, "FINALIZING", "Finalizing", 2, StepStatus.PENDING,
               "ticket-2"),
    StepRecord(FAILED_STEP_EXECUTING, FAILED_JOB, None, "EXECUTING", "Executing", 1, StepStatus.FAILED,
               "ticket-1", 1, 40, START, START + 3 * SECOND),
    StepRecord(FAILED_STEP_FINALIZING, FAILED_JOB, None, "FINALIZING", "Finalizing", 2, StepStatus.PENDING,
               "ticket-1"),
)  # fmt: skip
events = (
    EventRecord(FAILED_JOB, 1, START, Severity.INFO, "job_accepted", "Remove disk d1", "ticket-1", "ann"),
    EventRecord(FAILED_JOB, 2, START + 3 * SECOND, Severity.ERROR, "job_ended", "it failed", "ticket-1",
                None, FAILED_JOB),
    EventRecord(RUNNING_JOB, 1, START + 10 * SECOND, Severity.INFO, "job_accepted", "Remove VM web1",
                "ticket-2", "ann"),
    EventRecord(RUNNING_JOB, 2, START + 11 * SECOND, Severity.INFO, "step_started", "DELETE_IMAGE started",
                "ticket-2", None, CHILD),
    EventRecord(RUNNING_JOB, 3, START + 12 * SECOND, Severity.INFO, "task_answered", "h1 took it",
                "ticket-2", None, CHILD, TASK),
)  # fmt: skip
leftover = LeftoverRecord(
    LEFTOVER, FAILED_JOB, FAILED_JOB, None, "ticket-1", "h1", (DISK,), "half an image may remain",
    "look at h1, then clear it", START + 3 * SECOND,
)  # fmt: skip
locks = (
    LockRecord(VM, RUNNING_JOB, LockMode.EXCLUSIVE, RUNNING_JOB, START + 10 * SECOND),
    LockRecord(DISK, FAILED_JOB, LockMode.EXCLUSIVE, FAILED_JOB, START, LEFTOVER),
)
entities = (
    EntityRecord(VM, 3, 1, "web1", "REMOVING", 1, json.dumps({"name": "web1", "disks": [str(DISK)]})),
    EntityRecord(DISK, 1, 2, "d1", "ILLEGAL", 1, json.dumps({"name": "d1", "size": 1024})),
)
entity_ref = EntityRefRecord(VM, "disks", DISK)
actions = (
    ActionRecord(UUID(int=61), START, "ann", Action.JOB_SUBMIT, job_ref(FAILED_JOB), "ticket-1"),
    ActionRecord(
        UUID(int=62), START + 10 * SECOND, "ann", Action.JOB_SUBMIT, job_ref(RUNNING_JOB), "ticket-2", "it is old",
        '{"a":1}', '{"a":2}',
    ),
)  # fmt: skip
#: due every night at two, by the clocks of Berlin
schedule = ScheduleRecord(
    SCHEDULE, "nightly", "vm.remove", 2, '{"vm":"sealed"}', '{"vm":"web1"}', "ann", "ticket-3", START, START,
    "0 2 * * *", "Europe/Berlin", Missed.RUN, 3600, next_at=START + 3600 * SECOND, last_job_id=FAILED_JOB, runs=1,
    skipped=2, skipped_at=START, skipped_reason="it was late",
)  # fmt: skip

RECORDS: tuple[Record, ...] = (
    failed_job, running_job, failed_command, running_command, child, task, *steps, *events, leftover, *locks,
    *entities, entity_ref, *actions, schedule,
)  # fmt: skip


def paint(url: str) -> Database:
    """The rows in an empty database, which the caller closes."""
    database = Database.open(url)
    write(database, *RECORDS)
    return database


def write(database: Database, *records: Record) -> None:
    """Inserts records in one transaction."""
    change(database, *(Change(None, record) for record in records))


def change(database: Database, *changes: Change) -> None:
    """Writes changes in one transaction."""
    with database.writer().begin():
        flush(database.writer(), changes)


def end_running_job(database: Database, result: Result = Result.SUCCEEDED) -> None:
    """The running job reaches its end, in one transaction."""
    over = START + 20 * SECOND
    status = {Result.SUCCEEDED: StepStatus.FINISHED, Result.CANCELLED: StepStatus.ABORTED}.get(
        result, StepStatus.FAILED
    )
    done_task = replace(
        task, state=TaskState.ENDED, outcome=Outcome.SUCCEEDED, host_state="finished", host_result="success",
        progress=100, ended_at=over,
    )  # fmt: skip
    done_child = replace(child, state=State.ENDED, result=Result.SUCCEEDED, open=0, ended_seq=1, ended_at=over)
    done_root = replace(
        running_command, state=State.ENDED, result=result, open=0, ended_seq=2, ended_at=over,
        value_json='{"freed":1024}',
    )  # fmt: skip
    done_job = replace(
        running_job, status=status, result=result, progress=100, ended_at=over, updated_at=over, events=4
    )
    done_steps = [
        Change(step, replace(step, status=StepStatus.FINISHED, progress=100, ended_at=over))
        for step in steps
        if step.job_id == RUNNING_JOB and step.ended_at is None
    ]  # fmt: skip
    last = EventRecord(RUNNING_JOB, 4, over, Severity.INFO, "job_ended", "over", "ticket-2")
    change(
        database,
        Change(task, done_task),
        Change(child, done_child),
        Change(running_command, done_root),
        Change(running_job, done_job),
        *done_steps,
        Change(None, last),
        Change(locks[0], None),
    )
