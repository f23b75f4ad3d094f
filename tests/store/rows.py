"""Rows for the store's tests: one of each kind with every field set, and one with as little as is allowed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from interlock.model.calls import AfterPolicy
from interlock.model.changes import Change, Record
from interlock.model.limits import LimitRecord, LimitTicketRecord, LimitUseRecord
from interlock.model.locks import LockMode, LockScope
from interlock.model.records import (
    CommandRecord,
    EntityRecord,
    EntityRefRecord,
    EventRecord,
    FormerRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    Role,
    Severity,
    SignalRecord,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
    TicketRecord,
    Undo,
)
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Phase, Result, State, StepStatus, TaskState
from interlock.store.database import Database
from interlock.store.flush import flush
from tests.databases import empty_url

VM: Ref[Any] = Ref("vm", UUID(int=0xE1))
DISK: Ref[Any] = Ref("disk", UUID(int=0xE2))
OTHER: Ref[Any] = Ref("disk", UUID(int=0xE3))
HOST: Ref[Any] = Ref("host", UUID(int=0xE4))
FLOW, CHILD, TASK, LEFTOVER = (UUID(int=n) for n in (0xF1, 0xC1, 0xA1, 0xB1))

JOB = JobRecord(
    id=FLOW, action="vm.remove", title="Remove VM «web1»", status=StepStatus.FAILED,
    correlation_id="ticket-42",
    user="admin", parameters_json='{"vm":"…"}', refs=(VM, DISK), started_at=1, updated_at=9, ended_at=8,
    result=Result.FAILED, progress=40, idempotency_key="once", digest="d1", term=2, claims=1, events=3,
    attention="look", visible=False,
)  # fmt: skip
ROOT = CommandRecord(
    id=FLOW, flow_id=FLOW, parent_id=None, correlation_id="ticket-42", name="vm.remove", version=2,
    parameters_json="{}", refs=(VM,), title="Remove VM", depth=0, role=Role.FORWARD, key="root", position=0,
    after=(), step=None, weight=1, best_effort=False, created_at=1,
)  # fmt: skip
DONE = CommandRecord(
    id=CHILD, flow_id=FLOW, parent_id=FLOW, correlation_id="ticket-42", name="image.remove", version=1,
    parameters_json='{"disk":"…"}', refs=(DISK, VM), title="Remove image", depth=1, role=Role.UNDO, key="k",
    position=3, after=(0, 2), step="Removing", weight=5, best_effort=True, created_at=2, undoes=FLOW,
    state=State.ENDED, result=Result.SUCCEEDED, open=0, ended_seq=1, undo=Undo.DONE,
    failure_json='{"message":"x"}',
    value_json="7", phase=Phase.END_SUCCESSFULLY, phase_ran=True, attempts=2, retry_at=6, attention="why",
    has_leftovers=True, has_warnings=True, started_at=3, ended_at=7, deadline_at=9, stopping="late",
)  # fmt: skip
PLACEHOLDER = TaskRecord(
    id=UUID(int=0xA2), flow_id=FLOW, command_id=FLOW, correlation_id="ticket-42", role=Role.FORWARD,
    undoes=None,
    position=0, host=None, method="probe", arguments_json="{}", refs=(), is_async=False, is_mutating=False,
    step=None, weight=1, best_effort=False, created_at=2,
)  # fmt: skip
OVER = TaskRecord(
    id=TASK, flow_id=FLOW, command_id=CHILD, correlation_id="ticket-42", role=Role.END, undoes=CHILD,
    position=1,
    host=HOST, method="Image.delete", arguments_json='{"a":1}', refs=(DISK, VM), is_async=True,
    is_mutating=True,
    step="Deleting", weight=3, best_effort=True, created_at=2, state=TaskState.CLEAR_FAILED,
    outcome=Outcome.LOST,
    incarnation="i1", host_task_id="h1", host_state="finished", host_result="success", code=411,
    message="gone",
    answer_json="{}", progress=60, sent_at=3, ended_at=5, wait_json="{}", deadline_at=9, stopping="late",
    stalled_at=4,
)  # fmt: skip
STEP = StepRecord(
    id=FLOW, job_id=FLOW, parent_step_id=None, name="EXECUTING", title="Executing", position=0,
    status=StepStatus.STARTED, correlation_id="ticket-42",
)  # fmt: skip
SUBSTEP = StepRecord(
    id=CHILD, job_id=FLOW, parent_step_id=FLOW, name="Removing", title="Remove image", position=3,
    status=StepStatus.FINISHED, correlation_id="ticket-42", weight=5, progress=100, started_at=3, ended_at=7,
    external_system="VDSM", external_id="h1", refs=(DISK, VM),
)  # fmt: skip
LEFT = LeftoverRecord(
    id=LEFTOVER, flow_id=FLOW, command_id=CHILD, task_id=TASK, correlation_id="ticket-42", host="host:x",
    refs=(DISK, VM), reason="it may still run", remedy="look", created_at=5, cleared_at=9, cleared_by="admin",
    cleared_reason="looked",
)  # fmt: skip
LOCK = LockRecord(VM, FLOW, LockMode.SHARED, FLOW, 2)
SIGNAL = SignalRecord(UUID(int=0xD1), "host.up", HOST, FLOW, "{}", "monitor", 4, TASK)
NEWS = SignalRecord(UUID(int=0xD2), "tick", None, None, "1", "", 4)
TICKET = TicketRecord(CHILD, VM, FLOW, LockMode.EXCLUSIVE, -5, 2, 9)
FORMER = FormerRecord(FLOW, UUID(int=0xF2), AfterPolicy.FAILED, Result.CANCELLED)
LIMIT = LimitRecord("command:image.remove", 5, 10, 60_000_000, "ada", 3)
USE = LimitUseRecord(CHILD, "command:image.remove", FLOW, 4)
HELD_BACK = LimitTicketRecord(CHILD, "key:rack 7", FLOW, -5, 2, 9)
KEPT_LOCK = LockRecord(DISK, FLOW, LockMode.EXCLUSIVE, CHILD, 3, LEFTOVER, LockScope.EXECUTION)
SNAPSHOT = SnapshotRecord(FLOW, CHILD, DISK, 0, '{"name":"d"}', None)
CREATED = SnapshotRecord(FLOW, CHILD, OTHER, 1, None, '{"name":"e"}')
ENTITY_VM = EntityRecord(VM, 3, 1, "web1", "down", 2, '{"name":"web1"}')
ENTITY_DISK = EntityRecord(DISK, 1, 0, None, None, 1, "{}")
LINK = EntityRefRecord(VM, "disks", DISK)
PLAIN_EVENT = EventRecord(FLOW, 1, 2, Severity.INFO, "job_accepted", "Remove VM", "ticket-42")
EVENT = EventRecord(FLOW, 2, 5, Severity.ERROR, "leftover_made", "it may still run", "ticket-42", "admin", CHILD, TASK)

#: in an order that suits nobody: children before parents
EVERYTHING: tuple[Record, ...] = (
    EVENT, PLAIN_EVENT, KEPT_LOCK, LOCK, TICKET, FORMER, USE, HELD_BACK, LIMIT,
    SIGNAL, NEWS, CREATED, SNAPSHOT, LEFT, SUBSTEP, STEP, OVER,
    PLACEHOLDER, DONE, ROOT,
    JOB, LINK, ENTITY_DISK, ENTITY_VM,
)  # fmt: skip


@contextmanager
def stored(dialect: str, *records: Record) -> Iterator[Database]:
    """A new database with those rows; on SQLite in memory."""
    with empty_url(dialect) as url, Database.open(url) as database:
        insert(database, records)
        yield database


def insert(database: Database, records: Iterable[Record]) -> None:
    write(database, [Change(None, record) for record in records])


def write(database: Database, changes: list[Change]) -> None:
    """Flushes the changes in a transaction of their own."""
    with database.writer().begin():
        flush(database.writer(), changes)
