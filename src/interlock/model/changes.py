"""Changes: what a transaction writes, one record at a time, whatever table it is for."""

from dataclasses import dataclass
from typing import TypeAlias

from interlock.model.limits import LimitRecord, LimitTicketRecord, LimitUseRecord
from interlock.model.records import (
    ActionRecord,
    CommandRecord,
    EntityRecord,
    EntityRefRecord,
    EventRecord,
    FormerRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    SignalRecord,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
    TicketRecord,
)
from interlock.model.schedules import ScheduleRecord

Record: TypeAlias = (
    CommandRecord
    | TaskRecord
    | JobRecord
    | StepRecord
    | EventRecord
    | ActionRecord
    | ScheduleRecord
    | LockRecord
    | TicketRecord
    | FormerRecord
    | LimitRecord
    | LimitUseRecord
    | LimitTicketRecord
    | SnapshotRecord
    | SignalRecord
    | LeftoverRecord
    | EntityRecord
    | EntityRefRecord
)


@dataclass(frozen=True, slots=True)
class Change:
    """One row: without `old` inserted, without `new` deleted, with both updated where they differ."""

    old: Record | None
    new: Record | None
