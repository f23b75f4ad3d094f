"""Steps of all jobs, as they can be searched."""

from uuid import UUID

from sqlalchemy import Connection, select

from interlock.model.records import StepRecord
from interlock.model.states import StepStatus
from interlock.store.tables import job, step, step_subject_entity
from interlock.views.job import step_of
from interlock.views.loading import in_order
from interlock.views.search.atoms import Atom
from interlock.views.search.conditions import of_test
from interlock.views.search.fields import Field, Kind, Link, Subject
from interlock.views.search.sources import BySubject, Collection, Lookup, Walk, equals, ids_by
from interlock.views.words import Json

_step = step.c

FIELDS: tuple[Field | Subject, ...] = (
    Field("id", Kind.ID, _step.id, "the step's id; that of its command or task"),
    Field("job", Kind.ID, _step.job_id, "whose step it is"),
    Field("parent", Kind.ID, _step.parent_step_id, "the step that it is a part of", nullable=True),
    Field("name", Kind.TEXT, _step.name, "its name, as EXECUTING"),
    Field("title", Kind.TEXT, _step.title, "what it says that it does"),
    Field("status", Kind.WORD, _step.status, "how it stands", tuple(StepStatus)),
    Field("started", Kind.TIME, _step.started_at, "when it began", nullable=True),
    Field("ended", Kind.TIME, _step.ended_at, "when it ended", nullable=True),
    Field("duration", Kind.SPAN, _step.ended_at - _step.started_at, "how long it took", nullable=True),
    Field("progress", Kind.NUMBER, _step.progress, "in percent"),
    Field("external_id", Kind.TEXT, _step.external_id, "the host's id of its task", nullable=True),
    Field("correlation_id", Kind.TEXT, _step.correlation_id, "what it shares with its job"),
)


_OF_JOB = (job, job.c.id == _step.job_id)


def _under_way(connection: Connection, atom: Atom, limit: int) -> list[UUID]:
    """By the jobs that have not ended."""
    query = select(_step.id).join(*_OF_JOB).where(job.c.ended_at.is_(None), of_test(_step.status, atom.test))
    return list(connection.scalars(query.limit(limit)))


def _show(connection: Connection, ids: list[UUID]) -> list[Json]:
    found = in_order(connection, StepRecord, step.c.id, ids)
    return [{"job_id": str(each.job_id), **step_of(each)} for each in found]


def _bare(word: str) -> list[tuple[str, str]]:
    return [("title", f"*{word}*"), ("entity.name", f"{word}*")]


STEPS = Collection(
    name="steps",
    table=step,
    id=_step.id,
    fields={field.name: field for field in FIELDS},
    sources=(
        Lookup(equals("id"), ids_by(_step.id, _step.id)),
        Lookup(equals("parent"), ids_by(_step.parent_step_id, _step.id)),
        Lookup(equals("job"), ids_by(_step.job_id, _step.id)),
        Lookup(equals("correlation_id"), ids_by(job.c.correlation_id, _step.id, *_OF_JOB)),
        BySubject(),
        Walk("started", equals("status", "FAILED", "ABORTED", "UNKNOWN"), spelled=True),
        Lookup(equals("status", "STARTED"), _under_way),
    ),
    order="started",
    orders=(),
    remedy="add job, status = failed or started, or an entity, as in vm.name = web1",
    show=_show,
    bare=_bare,
    link=Link(step_subject_entity.c.step_id, step_subject_entity.c.entity_type, step_subject_entity.c.entity_id),
)
