"""Acceptance: a submitted command becomes a flow, or is refused whole before anything happened."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.catalog import Catalog, refs_of
from interlock.command import Command, CommandType
from interlock.coordinator import auditing
from interlock.coordinator.snapshot import Snapshot
from interlock.core import narration
from interlock.core.flow import Flow
from interlock.ids import new_id
from interlock.model.actions import Action, job_ref
from interlock.model.calls import FORMERS_MAX, NO_CONTEXT, AfterPolicy, Context
from interlock.model.errors import InvalidInput, KeyReused, Missing
from interlock.model.layout import Options
from interlock.model.locks import PRIORITY_MAX
from interlock.model.plan import require_possible
from interlock.model.records import CommandRecord, FormerRecord, JobRecord, Role
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.model.states import Ends, StepStatus
from interlock.model.text import require_storable
from interlock.model.wishes import Wish
from interlock.secrets import Keyring

_CORRELATION = re.compile(r"[0-9A-Za-z_-]{1,50}")
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody asks for. `flow_id` and `step_ids` are chosen beforehand."""

    flow_id: UUID
    step_ids: tuple[UUID, UUID, UUID]
    command: Command[Any]
    correlation_id: str
    idempotency_key: str | None
    user: str
    priority: int = 0
    context: Context = NO_CONTEXT
    #: of which call it is a part, in words: what two calls under one key must share beside their commands
    call: str = ""
    #: the jobs that it comes after, and how they must have ended
    after: tuple[UUID, ...] = ()
    after_policy: AfterPolicy = AfterPolicy.SUCCEEDED
    #: seconds that it may take from when it begins; None = what its class says
    timeout_s: float | None = None
    #: where a part fails, what succeeded is kept and a person is asked
    ask: bool = False
    #: it waits for its locks instead of being refused
    wait_for_locks: bool = False
    #: the job that it does once more, and why
    restart_of: UUID | None = None
    reason: str = ""
    #: the schedule that begins it
    schedule_id: UUID | None = None


def submission(
    catalog: Catalog,
    command: Command[Any],
    *,
    correlation_id: str | None = None,
    idempotency_key: str | None = None,
    user: str = "",
    priority: int = 0,
    context: Context = NO_CONTEXT,
    timeout_s: float | None = None,
    ask: bool = False,
    wait_for_locks: bool = False,
    after: Sequence[UUID] = (),
    after_policy: AfterPolicy = AfterPolicy.SUCCEEDED,
) -> Submission:
    """A submission with new ids, as far as it can be checked without the database. Raises InvalidInput."""
    id = new_id()
    if ask and not command.command_type.resumable:
        name = command.command_type.name
        raise InvalidInput(f"{name} cannot ask when a part fails: what succeeded of it would not stay right meanwhile")
    return Submission(
        id, (new_id(), new_id(), new_id()), catalog.checked(command), _checked_correlation(correlation_id, id),
        _checked_key(idempotency_key), _checked_user(user), _checked_priority(priority), _checked_context(context),
        timeout_s=_checked_timeout(timeout_s), ask=ask, wait_for_locks=wait_for_locks,
        after=_checked_after(after), after_policy=after_policy,
    )  # fmt: skip


class Repeated(Exception):
    """The same submission came before: its job's id. Not an error."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(str(job_id))
        self.job_id = job_id


def accept(
    flow: Flow,
    submission: Submission,
    snapshot: Snapshot,
    catalog: Catalog,
    keyring: Keyring,
    title_of: Callable[[Command[Any], CommandRecord], str],
    now: int,
    added: Collection[Ref[Any]] = (),
    *,
    by_person: bool = True,
) -> CommandRecord:
    """Puts the flow command and its job into the flow's change set; `added` exist as soon as it is committed.
    `by_person`: its user submits it, not a job or a schedule in their name.

    Raises InvalidInput, Missing, KeyReused, Repeated; then nothing has happened.
    """
    command = submission.command
    stored = catalog.write_command(command, keyring)
    digest = None
    if submission.idempotency_key is not None:
        digest = catalog.digest(command, keyring) + (submission.call or _order(submission))
        _check_key(snapshot, submission.idempotency_key, digest)
    if not submission.call:  # what the parts of one call come after is accepted with them
        _check_formers(snapshot, submission.after)
    refs = unique_refs(command)
    check_refs(snapshot, command, [ref for ref in refs if ref not in added])
    kind = command.command_type
    record = CommandRecord(
        id=submission.flow_id,
        flow_id=submission.flow_id,
        parent_id=None,
        correlation_id=submission.correlation_id,
        name=kind.name,
        version=kind.version,
        parameters_json=stored,
        refs=refs,
        title=kind.name,
        depth=0,
        role=Role.FORWARD,
        key=kind.name,
        position=0,
        after=(),
        step=None,
        weight=1,
        best_effort=False,
        created_at=now,
        options_json=_options(submission, kind).to_json(),
    )
    record = replace(record, title=submission.context.title or title_of(command, record))
    monitored = submission.context.monitored
    flow.put_command(record)
    flow.put_job(
        JobRecord(
            id=submission.flow_id,
            action=kind.name,
            title=record.title,
            status=StepStatus.STARTED,
            correlation_id=submission.correlation_id,
            user=submission.user,
            parameters_json=catalog.write_command(command, None),
            refs=refs,
            started_at=now,
            updated_at=now,
            idempotency_key=submission.idempotency_key,
            digest=digest,
            priority=submission.priority,
            visible=kind.monitored and not kind.internal if monitored is None else monitored,
            restart_of=submission.restart_of,
            schedule_id=submission.schedule_id,
        )
    )
    for id in submission.after:
        flow.put_former(FormerRecord(flow.id, id, submission.after_policy))
    narration.open_job(flow, submission.step_ids, now)
    if submission.restart_of is not None:
        _note_restart(flow, submission, now)
    elif by_person and submission.schedule_id is None:
        after = {"command": kind.name, "version": kind.version, "parameters": json.loads(flow.job.parameters_json)}
        auditing.note(flow, auditing.wish_of(submission.user), Action.JOB_SUBMIT, now, after=after)
    return record


def _note_restart(flow: Flow, submission: Submission, now: int) -> None:
    wish = Wish(flow.id, submission.user, submission.reason)
    flow.add_event(now, "job_restarted", wish.words(f"job {submission.restart_of} is done once more"), user=wish.by)
    former = job_ref(submission.restart_of or flow.id)
    auditing.note(flow, wish, Action.JOB_RESTART, now, subject=former, after={"job": str(flow.id)})


def _options(submission: Submission, kind: CommandType) -> Options:
    return Options(
        ends_by_entity=kind.ends is Ends.BY_ENTITY,
        timeout_s=submission.timeout_s or kind.timeout_s,
        waits_for_locks=submission.wait_for_locks,
        asks=submission.ask,
        skips=submission.ask and kind.skippable,
    )


def unique_refs(command: Command[Any]) -> tuple[Ref[Any], ...]:
    """The refs among a command's parameters, each once."""
    return tuple(dict.fromkeys(ref for _, ref in refs_of(command)))


def _check_key(snapshot: Snapshot, key: str, digest: str) -> None:
    known = snapshot.job_of(key)
    if known is None:
        return
    if known.digest != digest:
        raise KeyReused(
            f"idempotency key {key!r} belongs to job {known.id} with other parameters; take a new key",
            job_id=known.id,
        )
    raise Repeated(known.id)


def check_refs(snapshot: Snapshot, command: Command[Any], refs: Collection[Ref[Any]]) -> None:
    """Raises Missing where one of the refs names nothing."""
    snapshot.load(refs)
    missing = [str(ref) for ref in refs if snapshot.entity(ref) is None]
    if missing:
        name = command.command_type.name
        raise Missing(*(f"{name}: {ref} does not exist; `interlock entity` lists what does" for ref in missing))


def _order(submission: Submission) -> str:
    """What it comes after, and what it does once more, as text: empty where that is nothing."""
    named = " ".join(sorted(map(str, submission.after)))
    again = "" if submission.restart_of is None else f" {submission.restart_of} again"
    return (f" {submission.after_policy} after {named}" if named else "") + again


def _check_formers(snapshot: Snapshot, after: Collection[UUID]) -> None:
    """That they exist, and are not deleted before they are known to be awaited."""
    if not after:
        return
    snapshot.needs_writer = True
    there = snapshot.results_of(after)
    missing = [f"there is no job {id} to come after; `interlock jobs` lists them" for id in after if id not in there]
    if missing:
        raise Missing(*missing)


def _checked_after(given: Sequence[UUID]) -> tuple[UUID, ...]:
    """What it comes after, each once. Raises InvalidInput."""
    if len(given) > FORMERS_MAX:
        raise InvalidInput(f"after {len(given)} jobs; it may be at most {FORMERS_MAX}")
    return tuple(dict.fromkeys(given))


def _checked_correlation(given: str | None, id: UUID) -> str:
    """The correlation id, which is the job's own where none is given. Raises InvalidInput."""
    if given is None:
        return str(id)
    if not _CORRELATION.fullmatch(given):
        raise InvalidInput(f"correlation id {given!r}; use 1 to 50 of the characters 0-9 A-Z a-z _ -")
    return given


def _checked_key(given: str | None) -> str | None:
    """The idempotency key. Raises InvalidInput."""
    if given is not None and not _KEY.fullmatch(given):
        raise InvalidInput(f"idempotency key {given!r}; use 1 to 200 printable characters without spaces")
    return given


def _checked_priority(given: int) -> int:
    """What comes before what. Raises InvalidInput."""
    if abs(given) > PRIORITY_MAX:
        raise InvalidInput(f"the priority {given} is not between -{PRIORITY_MAX} and {PRIORITY_MAX}")
    return given


def _checked_timeout(given: float | None) -> float | None:
    """How long it may take. Raises InvalidInput."""
    try:
        require_possible(given)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    return given


def _checked_user(given: str) -> str:
    """Who submits. Raises InvalidInput."""
    require_storable("the user", given)
    return given


def _checked_context(given: Context) -> Context:
    """How it shows. Raises InvalidInput."""
    require_storable("the title", given.title)
    return given
