"""Jobs, as they can be searched."""

from uuid import UUID

from sqlalchemy import Connection, case, literal

from interlock.model.records import JobRecord
from interlock.model.states import Result, StepStatus
from interlock.store.tables import async_tasks, job, job_subject_entity
from interlock.views.jobs import summaries
from interlock.views.loading import in_order
from interlock.views.search.atoms import Atom, Equal
from interlock.views.search.fields import Field, Kind, Link, Subject
from interlock.views.search.sources import (
    BySubject,
    Collection,
    Lookup,
    Walk,
    any_of,
    begins,
    equals,
    ids_by,
    is_set,
    within,
)
from interlock.views.words import Json

_job = job.c
_STATUSES = tuple(status.value for status in StepStatus if status is not StepStatus.NOT_STARTED)
_hidden = case((_job.visible, literal(False)), else_=literal(True))
_SELDOM = ("FAILED", "ABORTED", "UNKNOWN")

FIELDS: tuple[Field | Subject, ...] = (
    Field("id", Kind.ID, _job.id, "the job's id"),
    Field("action", Kind.TEXT, _job.action, "the name of its command"),
    Field("title", Kind.TEXT, _job.title, "what it says that it does"),
    Field("status", Kind.WORD, _job.status, "how it stands", _STATUSES),
    Field("result", Kind.WORD, _job.result, "how it ended", tuple(Result), nullable=True),
    Field("user", Kind.TEXT, _job.user, "who submitted it"),
    Field("correlation_id", Kind.TEXT, _job.correlation_id, "what it shares with calls and log lines"),
    Field("started", Kind.TIME, _job.started_at, "when it was accepted"),
    Field("ended", Kind.TIME, _job.ended_at, "when it ended", nullable=True),
    Field("updated", Kind.TIME, _job.updated_at, "when anything of it changed last"),
    Field("duration", Kind.SPAN, _job.ended_at - _job.started_at, "how long it took", nullable=True),
    Field("priority", Kind.NUMBER, _job.priority, "higher comes first where jobs wait for a lock"),
    Field("progress", Kind.NUMBER, _job.progress, "in percent"),
    Field("attention", Kind.TEXT, _job.attention, "why it needs a person", nullable=True),
    Field("paused", Kind.TEXT, case((_job.ended_at.is_(None), _job.paused_by)), "who paused it", nullable=True),
    Field("hidden", Kind.FLAG, _hidden, "what is left out unless one asks for it"),
    Field("restart_of", Kind.ID, _job.restart_of, "the job that it does once more", nullable=True),
    Field("schedule", Kind.ID, _job.schedule_id, "the schedule that began it", nullable=True),
    Subject(
        "host", "name", Link(async_tasks.c.flow_id, async_tasks.c.host_type, async_tasks.c.host_id),
        alias="host", about="a host that it has, or had, tasks on",
    ),
)  # fmt: skip


def _implied(atom: Atom) -> tuple[Atom, ...]:
    """What has not succeeded does not show as finished."""
    failed = isinstance(atom.test, Equal) and {*atom.test.values} <= {Result.FAILED, Result.CANCELLED}
    if atom.field.name != "result" or atom.negated or not failed:
        return ()
    return (Atom(JOBS.fields["status"], Equal(_SELDOM), atom.column),)


def _show(connection: Connection, ids: list[UUID]) -> list[Json]:
    return summaries(connection, in_order(connection, JobRecord, job.c.id, ids))


def _bare(word: str) -> list[tuple[str, str]]:
    """A word is how the name of an entity, or the title, begins; or an id."""
    try:
        return [("id", str(UUID(word))), ("entity.id", str(UUID(word)))]
    except ValueError:
        return [("title", f"{word}*"), ("entity.name", f"{word}*"), ("correlation_id", word)]


JOBS = Collection(
    name="jobs",
    table=job,
    id=_job.id,
    fields={field.name: field for field in FIELDS},
    sources=(
        Lookup(equals("id"), ids_by(_job.id, _job.id)),
        Walk("started", equals("correlation_id")),
        Lookup(equals("restart_of"), ids_by(_job.restart_of, _job.id)),
        BySubject(),
        Lookup(begins("title"), ids_by(_job.title, _job.id)),
        Walk("started", equals("schedule"), "schedule_id IS NOT NULL"),
        Walk(
            "started",
            any_of(
                is_set("attention"), is_set("paused"), is_set("ended", negated=True), is_set("result", negated=True),
                equals("status", "PENDING", "STARTED"),
            ),
            "ended_at IS NULL",
            keyed=False,
        ),
        Walk("started", equals("status", *_SELDOM), spelled=True),
        Walk("started", equals("user")),
        Walk("started", equals("action")),
        Walk("ended", within("ended"), "ended_at IS NOT NULL", keyed=False),
        Walk(
            "started",
            any_of(
                within("started"), equals("status", "FINISHED"), equals("result", "SUCCEEDED"), is_set("ended"),
                is_set("result"),
            ),
            keyed=False,
        ),
    ),
    order="started",
    orders=("started", "ended"),
    remedy='add status, action, user, started or an entity, as in started > "2 hours ago" or vm.name = web1',
    show=_show,
    bare=_bare,
    implied=_implied,
    link=Link(job_subject_entity.c.job_id, job_subject_entity.c.entity_type, job_subject_entity.c.entity_id),
    unless_named=(("hidden", job.c.visible),),
)  # fmt: skip
