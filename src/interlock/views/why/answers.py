"""What is said of a command that has not ended, and what it is said from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from interlock.model.records import CommandRecord, JobRecord, Role, TaskRecord, TicketRecord
from interlock.model.refs import Ref
from interlock.store.tables import async_tasks, command_entities, entities, job, lock_tickets
from interlock.views.loading import records
from interlock.views.words import Json, moment


class Kind(StrEnum):
    """What is waited for."""

    #: a person's decision, since it cannot go on by itself
    ATTENTION = "attention"
    #: a person's word on whether a failure counts
    ASKING = "asking"
    #: somebody paused the job
    PAUSED = "paused"
    #: another job's end
    JOB = "job"
    #: a lock that another job holds, or came before for
    LOCK = "lock"
    #: a part before it in the plan
    PART = "part"
    #: room among parts that run so many at a time
    POOL = "pool"
    #: room under a limit on how many run or start
    LIMIT = "limit"
    #: a time
    RETRY = "retry"
    #: work on a host, under way
    HOST = "host"
    #: a host that is not connected
    HOST_AWAY = "host away"
    #: a function of this process
    FUNCTION = "function"
    #: something of entities to become true
    UNTIL = "until"
    SIGNAL = "signal"
    #: a person's answer
    APPROVAL = "approval"
    #: what is below it
    PARTS = "parts"
    #: the tasks of other jobs on what it names
    ENTITIES = "entities"
    #: the undoing of what it had completed
    UNDOING = "undoing"
    #: its end, asked for
    STOPPING = "stopping"
    #: nothing: the engine is at it, or will be at its next look
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Answer:
    """Why one command waits. Times are microseconds; `until` is when something happens by itself at the latest."""

    kind: Kind
    words: str
    since: int | None = None
    until: int | None = None
    job: UUID | None = None
    host: str | None = None
    ref: Ref[Any] | None = None
    task: UUID | None = None
    command: UUID | None = None

    def to_json(self, of: CommandRecord) -> Json:
        told: Json = {
            "command": str(of.id), "title": of.title, "state": of.state, "kind": self.kind, "words": self.words,
            "since": moment(self.since), "until": moment(self.until), "deadline": moment(of.deadline_at),
        }  # fmt: skip
        for name in ("job", "host", "ref", "task"):
            value = getattr(self, name)
            told[name] = None if value is None else str(value)
        return {**told, "waits_for": None if self.command is None else str(self.command)}


@dataclass
class Scene:
    """The rows of one job that answers are read off. `hosts` is what the engine says of its connections, by ref."""

    connection: Connection
    job: JobRecord
    commands: Mapping[UUID, CommandRecord]
    tasks: Sequence[TaskRecord]
    tickets: Sequence[TicketRecord]
    hosts: Mapping[str, Json]
    now: int
    _names: dict[Ref[Any], str] = field(default_factory=dict)

    def name(self, ref: Ref[Any]) -> str:
        """An entity as people know it."""
        if ref not in self._names:
            query = select(entities.c.name).where(entities.c.type == ref.type, entities.c.id == ref.id)
            found = self.connection.scalar(query)
            self._names[ref] = f"{ref.type} {found}" if found else str(ref)
        return self._names[ref]

    def job_words(self, id: UUID) -> str:
        """A job with its title."""
        title = self.connection.scalar(select(job.c.title).where(job.c.id == id))
        return f"job {id} ({title})" if title is not None else f"job {id}, which is gone"

    def plan_of(self, command: CommandRecord) -> list[CommandRecord]:
        """The parts of the plan that a command is a part of, in their order, each in its last attempt."""
        same = [
            each
            for each in self.commands.values()
            if each.parent_id == command.parent_id
            and (each.role, each.undoes) == (command.role, command.undoes)
            and not each.superseded
        ]
        return sorted(same, key=lambda each: each.position)

    def below(self, command: CommandRecord, role: Role) -> tuple[list[CommandRecord], list[TaskRecord]]:
        """The children and tasks of a role that have not ended."""
        children = [
            each
            for each in self.commands.values()
            if each.parent_id == command.id and each.role is role and each.result is None
        ]
        tasks = [each for each in self.tasks if each.command_id == command.id and each.role is role]
        return sorted(children, key=lambda each: each.position), tasks


def scene(connection: Connection, record: JobRecord, hosts: Sequence[Json], now: int) -> Scene:
    """Reads a job's rows; of tasks those that have not ended."""
    commands = records(connection, CommandRecord, command_entities.c.flow_id == record.id)
    tasks = records(
        connection, TaskRecord, async_tasks.c.flow_id == record.id, async_tasks.c.outcome.is_(None),
        order_by=[async_tasks.c.position, async_tasks.c.id],
    )  # fmt: skip
    tickets = records(
        connection, TicketRecord, lock_tickets.c.flow_id == record.id,
        order_by=[lock_tickets.c.ref_type, lock_tickets.c.ref_id],
    )  # fmt: skip
    by_id = {each.id: each for each in commands}
    return Scene(connection, record, by_id, tasks, tickets, {each["host"]: each for each in hosts}, now)
