"""Why a command has not begun: each reason is asked in turn, and the first that holds is the answer."""

from collections.abc import Callable

from sqlalchemy import select

from interlock.model.calls import AfterPolicy
from interlock.model.locks import conflict
from interlock.model.records import CommandRecord, TicketRecord
from interlock.model.states import State
from interlock.store.queries import locks, tickets
from interlock.store.tables import job_formers
from interlock.views import limits
from interlock.views.why.answers import Answer, Kind, Scene

Reason = Callable[[Scene, CommandRecord], Answer | None]


def _after_jobs(scene: Scene, command: CommandRecord) -> Answer | None:
    if command.parent_id is not None:
        return None
    former = job_formers.c
    query = select(former.former_id, former.policy).where(former.flow_id == command.flow_id, former.result.is_(None))
    rows = scene.connection.execute(query.order_by(former.former_id)).all()
    if not rows:
        return None
    id, policy = rows[0]
    how = "the success" if policy == AfterPolicy.SUCCEEDED else "the end"
    more = f" and of {len(rows) - 1} more" if len(rows) > 1 else ""
    return Answer(Kind.JOB, f"waits for {how} of {scene.job_words(id)}{more}", command.created_at, job=id)


def _before_it(scene: Scene, command: CommandRecord) -> Answer | None:
    """A part that must have succeeded, or an alternative that must have failed."""
    if command.parent_id is None:
        return None
    parts = {each.position: each for each in scene.plan_of(command)}
    for position in command.after:
        before = parts.get(position)
        if before is not None and before.state is not State.ENDED:
            return _part(f"waits for {before.title}, which comes before it", before)
    former = parts.get(command.position - 1)
    choice = command.options.choice
    if choice is None or former is None or former.options.choice != choice or former.state is State.ENDED:
        return None
    return _part(f"is tried only if {former.title} fails", former)


def _part(words: str, before: CommandRecord) -> Answer:
    return Answer(Kind.PART, words, before.started_at, command=before.id)


def _room(scene: Scene, command: CommandRecord) -> Answer | None:
    """Of a part of a group that runs so many at a time."""
    options = command.options
    if options.pool is None or options.at_most is None:
        return None
    running = [
        each
        for each in scene.plan_of(command)
        if each.options.pool == options.pool and each.state not in (State.PENDING, State.ENDED)
    ]
    if len(running) < options.at_most:
        return None
    words = f"waits for room: {len(running)} of at most {options.at_most} run, as {running[0].title}"
    return Answer(Kind.POOL, words, command.created_at, command=running[0].id)


def _paused(scene: Scene, command: CommandRecord) -> Answer | None:
    if scene.job.paused_by is None:
        return None
    return Answer(Kind.PAUSED, f"the job was paused by {scene.job.paused_by}; it begins when the job is resumed")


def _retry(scene: Scene, command: CommandRecord) -> Answer | None:
    if command.retry_at is None or command.retry_at <= scene.now:
        return None
    retry = command.options.retry
    of = "" if retry is None else f" of {retry.attempts}"
    return Answer(Kind.RETRY, f"begins attempt {command.attempt}{of} after a pause", until=command.retry_at)


def _limit(scene: Scene, command: CommandRecord) -> Answer | None:
    """The first of its limits under which there is no room, or others come before."""
    found = limits.of_command(scene.connection, command.id, scene.now)
    if not found:
        return None
    limit = found[0]["limit"]
    full = f"{limit['running']} of at most {limit['at_most']} run" if limit["at_most"] is not None else ""
    if limit["starts_max"] is not None:
        full += ", " if full else ""
        full += f"{limit['recent']} of at most {limit['starts_max']} started within {limit['window_s']:g} s"
    words = f"waits for room under the limit {limit['key']}: {full}; it is number {found[0]['place']} in the line"
    return Answer(Kind.LIMIT, words, command.created_at)


def _lock(scene: Scene, command: CommandRecord) -> Answer | None:
    """The first of its locks that somebody else holds, or came before for."""
    mine = [each for each in scene.tickets if each.command_id == command.id]
    for ticket in mine:
        found = _holder(scene, ticket) or _who_came_before(scene, ticket)
        if found is not None:
            return found
    if not mine:
        return None
    names = ", ".join(scene.name(each.ref) for each in mine[:5])
    return Answer(Kind.ENGINE, f"{names} has come free; it takes the lock at the engine's next look", mine[0].since)


def _holder(scene: Scene, ticket: TicketRecord) -> Answer | None:
    for held in locks.on(scene.connection, [ticket.ref]):
        lock = held.lock
        if lock.flow_id == ticket.flow_id or not conflict(lock.mode, ticket.mode):
            continue
        who = f"job {lock.flow_id} ({held.job_title})"
        words = f"waits for a lock: {scene.name(ticket.ref)} is held by {who}"
        if lock.leftover_id is not None:
            words = (
                f"waits for a lock: {scene.name(ticket.ref)} is blocked by leftover {lock.leftover_id} of {who}: "
                f"{held.leftover_reason}; clear it with `interlock leftover clear {lock.leftover_id}`"
            )
        return Answer(Kind.LOCK, words, ticket.since, ticket.deadline_at, lock.flow_id, ref=ticket.ref)
    return None


def _who_came_before(scene: Scene, ticket: TicketRecord) -> Answer | None:
    mine = (ticket.rank, ticket.command_id)
    for other in tickets.on(scene.connection, [ticket.ref]):
        theirs = other.ticket
        if theirs.flow_id == ticket.flow_id or not conflict(theirs.mode, ticket.mode):
            continue
        if (theirs.rank, theirs.command_id) < mine or other.is_holder:
            words = f"waits for a lock: {scene.name(ticket.ref)} goes first to job {theirs.flow_id} ({other.job_title})"
            return Answer(Kind.LOCK, words, ticket.since, ticket.deadline_at, theirs.flow_id, ref=ticket.ref)
    return None


#: in the order in which they are met; what holds back commands in another way says so by one more of these
REASONS: tuple[Reason, ...] = (_after_jobs, _before_it, _room, _paused, _retry, _limit, _lock)


def of_pending(scene: Scene, command: CommandRecord) -> Answer:
    """Why it has not begun."""
    for reason in REASONS:
        found = reason(scene, command)
        if found is not None:
            return found
    return Answer(Kind.ENGINE, "its turn has come; it begins at the engine's next look", command.created_at)
