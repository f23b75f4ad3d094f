"""Commands of all jobs, as they can be searched."""

from uuid import UUID

from sqlalchemy import Connection, select, text

from interlock.model.records import CommandRecord
from interlock.model.states import Phase, Result, State
from interlock.store.tables import async_tasks, command_assoc_entities, command_entities, job
from interlock.views.job import command_of
from interlock.views.loading import in_order
from interlock.views.search.atoms import Atom
from interlock.views.search.conditions import of_atom
from interlock.views.search.fields import Field, Kind, Link, Subject
from interlock.views.search.sources import BySubject, Collection, Lookup, Walk, any_of, equals, ids_by, is_set
from interlock.views.words import Json

_command = command_entities.c
_NOT_ENDED = tuple(state.value for state in State if state is not State.ENDED)

FIELDS: tuple[Field | Subject, ...] = (
    Field("id", Kind.ID, _command.id, "the command's id"),
    Field("job", Kind.ID, _command.flow_id, "whose command it is"),
    Field("parent", Kind.ID, _command.parent_id, "the command that planned it", nullable=True),
    Field("name", Kind.TEXT, _command.name, "what it is, as vm.remove"),
    Field("title", Kind.TEXT, _command.title, "what it says that it does"),
    Field("state", Kind.WORD, _command.state, "where it stands", tuple(State)),
    Field("result", Kind.WORD, _command.result, "how it ended", tuple(Result), nullable=True),
    Field("phase", Kind.WORD, _command.phase, "the end phase that is due, or has run", tuple(Phase), nullable=True),
    Field("attempts", Kind.NUMBER, _command.attempts, "how often its end phase failed"),
    Field("attention", Kind.TEXT, _command.attention, "why it needs a person", nullable=True),
    Field("stopping", Kind.TEXT, _command.stopping, "why it is being stopped", nullable=True),
    Field("created", Kind.TIME, _command.created_at, "when it was planned"),
    Field("started", Kind.TIME, _command.started_at, "when it began", nullable=True),
    Field("ended", Kind.TIME, _command.ended_at, "when it ended", nullable=True),
    Field("retry", Kind.TIME, _command.retry_at, "when it is tried again", nullable=True),
    Field("deadline", Kind.TIME, _command.deadline_at, "when its time is over", nullable=True),
    Field("correlation_id", Kind.TEXT, _command.correlation_id, "what it shares with its job"),
    Subject(
        "host", "name", Link(async_tasks.c.command_id, async_tasks.c.host_type, async_tasks.c.host_id),
        alias="host", about="a host that it has, or had, tasks on",
    ),
)  # fmt: skip
_OF_JOB = (job, job.c.id == _command.flow_id)


#: what only commands that have not ended are
_is_of_unfinished = any_of(
    equals("state", *_NOT_ENDED), is_set("attention"), is_set("result", negated=True), is_set("ended", negated=True)
)


def _unfinished(connection: Connection, atom: Atom, limit: int) -> list[UUID]:
    query = select(_command.id).where(text("(state <> 'ENDED')"), of_atom(atom)).limit(limit)
    return list(connection.scalars(query))


def _show(connection: Connection, ids: list[UUID]) -> list[Json]:
    found = in_order(connection, CommandRecord, command_entities.c.id, ids)
    return [{"job_id": str(each.flow_id), **command_of(each)} for each in found]


def _bare(word: str) -> list[tuple[str, str]]:
    return [("title", f"*{word}*"), ("entity.name", f"{word}*")]


COMMANDS = Collection(
    name="commands",
    table=command_entities,
    id=_command.id,
    fields={field.name: field for field in FIELDS},
    sources=(
        Lookup(equals("id"), ids_by(_command.id, _command.id)),
        Lookup(equals("parent"), ids_by(_command.parent_id, _command.id)),
        Lookup(equals("job"), ids_by(_command.flow_id, _command.id)),
        Lookup(equals("correlation_id"), ids_by(job.c.correlation_id, _command.id, *_OF_JOB)),
        BySubject(),
        Lookup(_is_of_unfinished, _unfinished),
        Walk("created", equals("result", "FAILED", "CANCELLED"), spelled=True),
    ),
    order="created",
    orders=(),
    remedy="add job, state, result = failed, attention or an entity, as in vm.name = web1",
    show=_show,
    bare=_bare,
    link=Link(
        command_assoc_entities.c.command_id, command_assoc_entities.c.entity_type, command_assoc_entities.c.entity_id
    ),
)  # fmt: skip
