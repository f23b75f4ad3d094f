"""The tables: one per record of model/records.py, with the constraints that model/states.py implies.

Fields become columns as fields.py says. Migrations create these tables with frozen statements; a test
compares the two.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

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
from interlock.store.shapes import FIELDS as FIELDS
from interlock.store.shapes import metadata as metadata
from interlock.store.shapes import refs_table, table_of, where
from interlock.store.types import Id, Text

#: states of a task whose outcome is stored
TASK_OVER = "(state = 'Ended' OR state = 'ClearFailed' OR state = 'Cleared')"
#: what a job or a step cannot show once it has ended
OVER = "(status <> 'PENDING' AND status <> 'STARTED')"
#: what few jobs and steps come to, and people look for: partial indexes have it, and no other row pays for them
SELDOM = "status = 'FAILED' OR status = 'ABORTED' OR status = 'UNKNOWN'"
SELDOM_RESULT = "result = 'FAILED' OR result = 'CANCELLED'"
#: events that are not the many that every job has
SELDOM_KIND = "kind <> 'job_accepted' AND kind <> 'job_ended' AND kind <> 'step_started' AND kind <> 'step_ended'"
LOUD = "severity <> 'info'"

engines = Table(
    "engines",
    metadata,
    Column("id", Id(), nullable=False),
    Column("epoch", BigInteger(), nullable=False),
    Column("seq", BigInteger(), nullable=False),
    Column("started_at", BigInteger(), nullable=False),
    Column("ended_at", BigInteger()),
    Column("host", Text(), nullable=False),
    Column("pid", BigInteger(), nullable=False),
    Column("seen_at", BigInteger()),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("epoch"),
    CheckConstraint("epoch >= 1 AND seq >= 0", name="engines_counters"),
)

cluster = Table(
    "cluster",
    metadata,
    Column("alone", BigInteger(), primary_key=True, autoincrement=False),
    Column("id", Id(), nullable=False),
    Column("generation", BigInteger(), nullable=False),
    CheckConstraint("alone = 1 AND generation >= 1", name="cluster_alone"),
)

job = table_of(
    "job",
    JobRecord,
    UniqueConstraint("idempotency_key"),
    Index("job_by_start", "started_at", "id"),
    Index("job_by_status", "status", "started_at", "id", **where(SELDOM)),
    Index("job_by_user", "user", "started_at", "id"),
    Index("job_by_action", "action", "started_at", "id"),
    Index("job_by_correlation", "correlation_id", "started_at", "id"),
    Index("job_by_title", "title"),
    Index("job_by_change", "change_no"),
    Index("job_by_end", "ended_at", "id", **where("ended_at IS NOT NULL")),
    Index("job_by_origin", "restart_of", **where("restart_of IS NOT NULL")),
    Index("job_by_schedule", "schedule_id", "started_at", **where("schedule_id IS NOT NULL")),
    Index("job_unfinished", "started_at", "id", **where("ended_at IS NULL")),
    key=("id",),
    checks={
        "ended": "(ended_at IS NULL) = (result IS NULL)",
        "shown": f"ended_at IS NULL OR {OVER}",
        "progress": "progress BETWEEN 0 AND 100",
        "counters": "term >= 1 AND claims >= 0 AND events >= 0",
    },
)

command_entities = table_of(
    "command_entities",
    CommandRecord,
    Index("command_entities_by_flow", "flow_id"),
    Index("command_entities_by_parent", "parent_id"),
    Index("command_entities_by_undone", "undoes", **where("undoes IS NOT NULL")),
    Index("command_entities_by_result", "result", "created_at", "id", **where(SELDOM_RESULT)),
    Index("command_entities_unfinished", "flow_id", **where("state <> 'ENDED'")),
    key=("id",),
    foreign={
        "flow_id": "job.id",
        "parent_id": "command_entities.id",
        "undoes": "command_entities.id",
    },
    checks={
        "has_result": "(result IS NOT NULL) = (state = 'ENDED')",
        "has_end": "(ended_at IS NOT NULL) = (state = 'ENDED')",
        "root": "(parent_id IS NULL) = (id = flow_id)",
        "undone": "undo IS NULL OR (result IS NOT NULL AND result = 'SUCCEEDED')",
        "counters": "open >= 0 AND attempts >= 0 AND depth >= 0 AND position >= 0",
        "weight_positive": "weight >= 1",
    },
)
command_assoc_entities = refs_table("command_assoc_entities", "command_entities", "command_id")

async_tasks = table_of(
    "async_tasks",
    TaskRecord,
    Index("async_tasks_by_command", "command_id"),
    Index("async_tasks_by_flow", "flow_id"),
    Index("async_tasks_uncleared", "state", **where("state IN ('Ended', 'ClearFailed')")),
    Index("async_tasks_by_host", "host_type", "host_id", "flow_id", **where("host_id IS NOT NULL")),
    Index("async_tasks_by_undone", "undoes", **where("undoes IS NOT NULL")),
    key=("id",),
    foreign={
        "flow_id": "job.id",
        "command_id": "command_entities.id",
        "undoes": "command_entities.id",
    },
    checks={
        "has_outcome": f"(outcome IS NOT NULL) = {TASK_OVER}",
        "has_end": f"(ended_at IS NOT NULL) = {TASK_OVER}",
        "host": "(host_type IS NULL) = (host_id IS NULL)",
        "progress": "progress BETWEEN 0 AND 100",
        "weight_positive": "weight >= 1",
    },
)
async_task_entities = refs_table("async_task_entities", "async_tasks", "task_id")

job_subject_entity = refs_table("job_subject_entity", "job", "job_id")

step = table_of(
    "step",
    StepRecord,
    Index("step_by_job", "job_id"),
    Index("step_by_parent", "parent_step_id"),
    Index("step_by_status", "status", "started_at", "id", **where(SELDOM)),
    key=("id",),
    foreign={"job_id": "job.id", "parent_step_id": "step.id"},
    checks={
        "shown": f"ended_at IS NULL OR {OVER}",
        "progress": "progress BETWEEN 0 AND 100",
        "weight_positive": "weight >= 1",
    },
)
step_subject_entity = refs_table("step_subject_entity", "step", "step_id")

audit_log = Table(
    "audit_log",
    metadata,
    # INTEGER is what makes it the rowid on SQLite, hence 64 bits there as well
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    *(
        Column(
            column,
            kind,
            *([ForeignKey("job.id")] if column == "flow_id" else []),
            nullable=field.nullable,
        )
        for field in FIELDS[EventRecord]
        for column, kind in field.columns
    ),
    UniqueConstraint("flow_id", "seq"),
    Index("audit_log_by_time", "at", "id"),
    Index("audit_log_by_kind", "kind", "at", "id", **where(SELDOM_KIND)),
    Index("audit_log_by_severity", "severity", "at", "id", **where(LOUD)),
    CheckConstraint("seq >= 1", name="audit_log_counted"),
    CheckConstraint("severity = 'info' OR severity = 'warning' OR severity = 'error'", name="audit_log_severity"),
    sqlite_autoincrement=True,
)

signals = Table(
    "signals",
    metadata,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    *(
        Column(column, kind, nullable=field.nullable)
        for field in FIELDS[SignalRecord]
        for column, kind in field.columns
    ),
    UniqueConstraint("id"),
    CheckConstraint("(about_type IS NULL) = (about_id IS NULL)", name="signals_about"),
    Index("signals_to_all", "kind", "about_type", "about_id", "number", **where("job_id IS NULL")),
    Index("signals_to_job", "job_id", "kind", "about_type", "about_id", "number", **where("taken_by IS NULL")),
    sqlite_autoincrement=True,
)

actions = Table(
    "actions",
    metadata,
    # given by chain.py, without a gap
    Column("number", BigInteger(), primary_key=True, autoincrement=False),
    *(
        Column(column, kind, nullable=field.nullable)
        for field in FIELDS[ActionRecord]
        for column, kind in field.columns
    ),
    Column("digest", Text(), nullable=False),
    UniqueConstraint("id"),
    Index("actions_by_subject", "subject_type", "subject_id", "number"),
    Index("actions_by_person", "by", "number"),
)
#: the last action as it was written; `since`: what is older than that time was done before there was a chain
actions_head = Table(
    "actions_head",
    metadata,
    Column("id", BigInteger(), primary_key=True, autoincrement=False),
    Column("number", BigInteger(), nullable=False),
    Column("digest", Text(), nullable=False),
    Column("since", BigInteger(), nullable=False),
    CheckConstraint("id = 1", name="actions_head_alone"),
)

schedules = table_of(
    "schedules",
    ScheduleRecord,
    UniqueConstraint("name"),
    Index("schedules_by_time", "next_at", **where("next_at IS NOT NULL")),
    key=("id",),
    checks={"counters": "runs >= 0 AND skipped >= 0 AND late_s_max >= 0"},
)

leftovers = table_of(
    "leftovers",
    LeftoverRecord,
    Index("leftovers_by_flow", "flow_id"),
    Index("leftovers_by_command", "command_id"),
    Index("leftovers_open", "created_at", **where("cleared_at IS NULL")),
    key=("id",),
    foreign={"flow_id": "job.id", "command_id": "command_entities.id"},
    checks={"cleared": "cleared_at IS NOT NULL OR (cleared_by IS NULL AND cleared_reason IS NULL)"},
)

entity_locks = table_of(
    "entity_locks",
    LockRecord,
    Index("entity_locks_by_flow", "flow_id"),
    Index("entity_locks_by_command", "command_id"),
    Index("entity_locks_by_leftover", "leftover_id", **where("leftover_id IS NOT NULL")),
    # two exclusive holders of one ref are impossible, whoever decides
    Index("entity_locks_alone", "ref_type", "ref_id", unique=True, **where("mode = 'exclusive'")),
    key=("ref_type", "ref_id", "flow_id"),
    foreign={"flow_id": "job.id", "command_id": "command_entities.id", "leftover_id": "leftovers.id"},
    sqlite_with_rowid=False,
)

lock_tickets = table_of(
    "lock_tickets",
    TicketRecord,
    Index("lock_tickets_by_ref", "ref_type", "ref_id"),
    Index("lock_tickets_by_flow", "flow_id"),
    key=("command_id", "ref_type", "ref_id"),
    foreign={"flow_id": "job.id", "command_id": "command_entities.id"},
    sqlite_with_rowid=False,
)

job_formers = table_of(
    "job_formers",
    FormerRecord,
    Index("job_formers_awaited", "former_id", **where("result IS NULL")),
    key=("flow_id", "former_id"),
    foreign={"flow_id": "job.id"},
    checks={"order": "flow_id <> former_id"},
    sqlite_with_rowid=False,
)

limits = table_of(
    "limits",
    LimitRecord,
    key=("key",),
    checks={
        "something": "at_most IS NOT NULL OR starts_max IS NOT NULL",
        "counters": "(at_most IS NULL OR at_most >= 0) AND (starts_max IS NULL OR starts_max >= 1)",
        "window": "(starts_max IS NULL) = (window_us IS NULL)",
    },
)

# without foreign keys: a start counts in its window, whether its job is still kept or not
limit_uses = table_of(
    "limit_uses",
    LimitUseRecord,
    Index("limit_uses_by_key", "key", "taken_at"),
    Index("limit_uses_by_flow", "flow_id"),
    key=("command_id", "key"),
    sqlite_with_rowid=False,
)

limit_tickets = table_of(
    "limit_tickets",
    LimitTicketRecord,
    Index("limit_tickets_by_key", "key", "rank"),
    Index("limit_tickets_by_flow", "flow_id"),
    key=("command_id", "key"),
    foreign={"flow_id": "job.id", "command_id": "command_entities.id"},
    sqlite_with_rowid=False,
)

business_entity_snapshot = table_of(
    "business_entity_snapshot",
    SnapshotRecord,
    Index("business_entity_snapshot_by_flow", "flow_id"),
    key=("command_id", "ref_type", "ref_id"),
    foreign={"flow_id": "job.id", "command_id": "command_entities.id"},
    checks={"counters": "position >= 0"},
)

entities = table_of(
    "entities",
    EntityRecord,
    UniqueConstraint("type", "name"),
    key=("type", "id"),
    checks={"counters": "version >= 0 AND links >= 0"},
)

#: the names of entities that are gone: jobs that named them are still found by them
former_entities = Table(
    "former_entities",
    metadata,
    Column("type", Text(), nullable=False),
    Column("id", Id(), nullable=False),
    Column("name", Text(), nullable=False),
    PrimaryKeyConstraint("type", "id"),
    Index("former_entities_by_name", "type", "name"),
    sqlite_with_rowid=False,
)

entity_refs = table_of(
    "entity_refs",
    EntityRefRecord,
    ForeignKeyConstraint(["origin_type", "origin_id"], ["entities.type", "entities.id"]),
    Index("entity_refs_by_target", "target_type", "target_id", "origin_type", "field"),
    key=("origin_type", "origin_id", "field", "target_type", "target_id"),
    sqlite_with_rowid=False,
)
