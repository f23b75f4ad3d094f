"""Every command of a job that has not ended, and why."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection

from interlock.model.records import CommandRecord, JobRecord, Role, Undo
from interlock.model.states import Phase, State
from interlock.store.queries.tasks import unfinished_on
from interlock.store.tables import job
from interlock.views.loading import records
from interlock.views.why.answers import Answer, Kind, Scene, scene
from interlock.views.why.pending import of_pending
from interlock.views.why.tasks import of_task
from interlock.views.words import Json

#: answers in one list; of more commands it is said how many
ANSWERS_MAX = 1000


def why(connection: Connection, job_id: UUID, hosts: Sequence[Json], now: int) -> Json | None:
    """`{"job_id", "words", "commands": […], "more": n}`: for each unfinished command one answer, those above before
    those below; `words` is the job's in a line, "it has ended" where it has. None: there is no such job.

    `hosts` is what the engine says of its connections.
    """
    found = records(connection, JobRecord, job.c.id == job_id)
    if not found:
        return None
    if found[0].ended_at is not None:
        return {"job_id": str(job_id), "words": "it has ended", "commands": [], "more": 0}
    seen = scene(connection, found[0], hosts, now)
    unfinished = [each for each in seen.commands.values() if each.state is not State.ENDED]
    unfinished.sort(key=lambda each: (each.depth, each.position, each.id))
    told = [answer(seen, each).to_json(each) for each in unfinished[:ANSWERS_MAX]]
    return {
        "job_id": str(job_id),
        "words": in_a_line(seen),
        "commands": told,
        "more": max(0, len(unfinished) - ANSWERS_MAX),
    }


def in_a_line(seen: Scene) -> str:
    """The reason that counts: of what the job waits for, as deep as it goes."""
    command = seen.commands.get(seen.job.id)
    visited = set[UUID]()
    while command is not None and command.id not in visited:
        visited.add(command.id)
        found = answer(seen, command)
        following = seen.commands.get(found.command) if found.command is not None else None
        if following is None or following.state is State.ENDED:
            return found.words if command.id == seen.job.id else f"{command.title}: {found.words}"
        command = following
    return "the engine is at it"


def answer(seen: Scene, command: CommandRecord) -> Answer:
    """Why one command that has not ended has not."""
    if command.attention is not None:
        words = f"needs a person: {command.attention}; decide with `interlock job retry` or `force-failure`"
        return Answer(Kind.ATTENTION, words)
    if command.asking is not None:
        return Answer(Kind.ASKING, f"a person is asked: {command.asking}")
    match command.state:
        case State.PENDING:
            return of_pending(seen, command)
        case State.COMPENSATING:
            return _compensating(seen, command)
        case State.FINALIZING:
            return _finalizing(seen, command)
        case _:
            return _executing(seen, command)


def _executing(seen: Scene, command: CommandRecord) -> Answer:
    found = _below(seen, command, Role.FORWARD)
    if command.stopping is not None:
        by = f" by {command.stopped_by}" if command.stopped_by is not None else ""
        still = f"; still at work: {found.words}" if found is not None else ""
        words = f"is being stopped{by}: {command.stopping}{still}"
        stopping = found or Answer(Kind.STOPPING, words)
        return replace(stopping, kind=Kind.STOPPING, words=words)
    return found or Answer(Kind.ENGINE, "all its parts have ended; its end is due at the engine's next look")


def _below(seen: Scene, command: CommandRecord, role: Role) -> Answer | None:
    """What of a plan is not over: a task by itself, commands by their number and the one that matters."""
    children, tasks = seen.below(command, role)
    if tasks:
        found = of_task(seen, tasks[0])
        more = len(tasks) + len(children) - 1
        return replace(found, words=f"{found.words} (and {more} more)") if more else found
    if not children:
        return None
    begun = [each for each in children if each.state is not State.PENDING]
    first = next((each for each in children if each.attention is not None), (begun or children)[0])
    if len(children) == 1:
        words = f"waits for {first.title}"
    else:
        words = f"waits for {len(children)} parts, {len(begun)} of them under way, as {first.title}"
    return Answer(Kind.PARTS, words, first.started_at, command=first.id)


def _compensating(seen: Scene, command: CommandRecord) -> Answer:
    if command.retry_at is not None and command.retry_at > seen.now:
        words = f"undoing failed {command.attempts} times; it is tried again"
        return Answer(Kind.RETRY, words, until=command.retry_at)
    undone = next((each for each in seen.commands.values() if each.undo is Undo.UNDERWAY), None)
    found = _below(seen, command, Role.UNDO)
    if found is not None:
        of = "" if undone is None else f" {undone.title}"
        return replace(found, kind=Kind.UNDOING, words=f"undoes{of}: {found.words}")
    return Answer(Kind.ENGINE, "the next to be undone is due at the engine's next look")


def _finalizing(seen: Scene, command: CommandRecord) -> Answer:
    name = "its end" if command.phase is Phase.END_SUCCESSFULLY else "its failure end"
    if command.phase_ran:
        found = _below(seen, command, Role.END)
        if found is not None:
            return replace(found, words=f"{name} is under way: {found.words}")
    elif command.retry_at is not None and command.retry_at > seen.now:
        words = f"{command.phase} failed {command.attempts} times; it is tried again"
        return Answer(Kind.RETRY, words, until=command.retry_at)
    elif command.options.ends_by_entity:
        others = [each for each in unfinished_on(seen.connection, command.refs) if each.flow_id != command.flow_id]
        if others:
            one = others[0]
            words = f"{name} waits for {one.method} of job {one.flow_id} ({one.job_title}) on {seen.name(one.ref)}"
            return Answer(Kind.ENTITIES, words, job=one.flow_id, ref=one.ref)
    return Answer(Kind.ENGINE, f"{name} is due at the engine's next look")
