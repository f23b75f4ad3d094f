"""Why it is waiting: for every state, every reason, in words that name who and what and until when."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock.model.calls import AfterPolicy
from interlock.model.changes import Record
from interlock.model.layout import Options
from interlock.model.locks import LockMode
from interlock.model.plan import Retry
from interlock.model.records import (
    CommandRecord,
    FormerRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    Role,
    TicketRecord,
    Undo,
)
from interlock.model.states import Phase, Result, State, StepStatus, TaskState
from interlock.model.waits import Wait
from interlock.store.database import Database
from interlock.views.why import explaining
from interlock.views.why.answers import Kind
from interlock.views.words import Json, moment
from tests.databases import DIALECTS, empty_url
from tests.views import picture

NOW = picture.START + 100 * picture.SECOND
LATER = NOW + 60 * picture.SECOND
JOB, OTHER = UUID(int=0x100), UUID(int=0x200)
FIRST, SECOND_PART, TASK = UUID(int=0x101), UUID(int=0x102), UUID(int=0x103)
VM, HOST = picture.VM, picture.HOST
HOST_WORDS = f"host:{HOST.id}"

job = JobRecord(JOB, "a", "Do it", StepStatus.STARTED, "c", "ann", "{}", (), picture.START, picture.START)
other = replace(job, id=OTHER, title="Other")
root = CommandRecord(
    JOB, JOB, None, "c", "a", 1, "{}", (VM,), "Do it", 0, Role.FORWARD, "a", 0, (), None, 1, False, picture.START,
    state=State.EXECUTING, started_at=picture.START, open=1,
)  # fmt: skip
other_root = replace(root, id=OTHER, flow_id=OTHER, title="Other", refs=())
first = replace(root, id=FIRST, parent_id=JOB, title="First", depth=1, key="first", refs=())
pending = replace(
    first, id=SECOND_PART, title="Second", position=1, state=State.PENDING, started_at=None, key="second", open=0
)
task = replace(
    picture.task, id=TASK, flow_id=JOB, command_id=JOB, refs=(VM,), stalled_at=None, created_at=picture.START,
    sent_at=picture.START,
)  # fmt: skip


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with empty_url(request.param) as url, Database.open(url) as opened:
        picture.write(opened, *picture.entities)
        yield opened


def asked(database: Database, *records: Record, hosts: tuple[Json, ...] = ()) -> Json:
    """What is told of the job that is written."""
    picture.write(database, *records)
    with database.reader() as connection:
        told = explaining.why(connection, JOB, hosts, NOW)
    assert told is not None
    assert all(each["kind"] in list(Kind) for each in told["commands"])
    return told


def with_options(command: CommandRecord, **options: Any) -> CommandRecord:
    return replace(command, options_json=Options(**options).to_json())


def wait(**fields: Any) -> Any:
    return replace(
        task, host=None, method="wait", wait_json=Wait(**fields).to_json(), deadline_at=LATER, state=TaskState.POLLING
    )


def test_a_whole_answer(database: Database) -> None:
    ticket = TicketRecord(JOB, VM, JOB, LockMode.EXCLUSIVE, 1, picture.START, LATER)
    held = LockRecord(VM, OTHER, LockMode.SHARED, OTHER, picture.START)
    waiting = replace(root, state=State.PENDING, started_at=None, open=0, deadline_at=None)
    words = f"waits for a lock: vm web1 is held by job {OTHER} (Other)"
    assert asked(database, job, other, waiting, other_root, ticket, held) == {
        "job_id": str(JOB),
        "words": words,
        "commands": [
            {
                "command": str(JOB), "title": "Do it", "state": "PENDING", "kind": "lock", "words": words,
                "since": moment(picture.START), "until": moment(LATER), "deadline": None, "job": str(OTHER),
                "host": None, "ref": str(VM), "task": None, "waits_for": None,
            }
        ],
        "more": 0,
    }  # fmt: skip


_before = TicketRecord(OTHER, VM, OTHER, LockMode.EXCLUSIVE, 0, picture.START)
_mine = TicketRecord(SECOND_PART, VM, JOB, LockMode.EXCLUSIVE, 1, picture.START)
_leftover = LeftoverRecord(UUID(int=0x300), OTHER, OTHER, None, "c", "h1", (VM,), "half a disk", "look", picture.START)
_refused = LockRecord(VM, OTHER, LockMode.EXCLUSIVE, OTHER, picture.START, _leftover.id)
_running = with_options(first, pool=1, at_most=1)

#: per case: the records beside the job and its root, and what is told of the second part
PENDING: dict[str, tuple[tuple[Record, ...], Kind, str]] = {
    "lock, first come": (
        (first, pending, _mine, other, other_root, _before), Kind.LOCK,
        f"waits for a lock: vm web1 goes first to job {OTHER} (Other)",
    ),
    "lock, leftover": (
        (first, pending, _mine, other, other_root, _leftover, _refused), Kind.LOCK,
        f"waits for a lock: vm web1 is blocked by leftover {_leftover.id} of job {OTHER} (Other): half a disk; "
        f"clear it with `interlock leftover clear {_leftover.id}`",
    ),
    "lock, free": (
        (first, pending, _mine), Kind.ENGINE,
        "vm web1 has come free; it takes the lock at the engine's next look",
    ),
    "part": ((first, replace(pending, after=(0,))), Kind.PART, "waits for First, which comes before it"),
    "alternative": (
        (with_options(first, choice=1), with_options(pending, choice=1)), Kind.PART, "is tried only if First fails",
    ),
    "pool": (
        (_running, with_options(pending, pool=1, at_most=1)), Kind.POOL,
        "waits for room: 1 of at most 1 run, as First",
    ),
    "retry": (
        (first, replace(with_options(pending, retry=Retry(3)), attempt=2, retry_at=LATER)), Kind.RETRY,
        "begins attempt 2 of 3 after a pause",
    ),
    "turn": ((first, pending), Kind.ENGINE, "its turn has come; it begins at the engine's next look"),
    "attention": (
        (first, replace(pending, attention="its class is gone")), Kind.ATTENTION,
        "needs a person: its class is gone; decide with `interlock job retry` or `force-failure`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PENDING)
def test_what_has_not_begun_says_why(database: Database, case: str) -> None:
    records, kind, words = PENDING[case]
    told = {each["command"]: each for each in asked(database, job, root, *records)["commands"]}
    assert (told[str(SECOND_PART)]["kind"], told[str(SECOND_PART)]["words"]) == (kind, words)
    if case == "retry":
        assert told[str(SECOND_PART)]["until"] == moment(LATER)


def test_a_paused_job_says_by_whom(database: Database) -> None:
    told = asked(database, replace(job, paused_by="eve"), root, first, pending)
    assert told["commands"][2]["words"] == "the job was paused by eve; it begins when the job is resumed"
    assert told["commands"][2]["kind"] == Kind.PAUSED


@pytest.mark.parametrize(("policy", "how"), [(AfterPolicy.ENDED, "the end"), (AfterPolicy.SUCCEEDED, "the success")])
def test_what_comes_after_another_job_names_it(database: Database, policy: AfterPolicy, how: str) -> None:
    after = replace(root, state=State.PENDING, started_at=None, open=0)
    (told,) = asked(database, job, other, after, other_root, FormerRecord(job.id, OTHER, policy))["commands"]
    assert (told["kind"], told["words"], told["job"]) == (
        Kind.JOB, f"waits for {how} of job {OTHER} (Other)", str(OTHER),
    )  # fmt: skip


#: a task of the root, what the engine says of its host, and what is told
EXECUTING: dict[str, tuple[Any, tuple[Json, ...], Kind, str]] = {
    "under way": (task, (), Kind.HOST, f"Image.delete is under way on {HOST_WORDS}, 42 % done"),
    "stalled": (
        replace(task, stalled_at=picture.START), (), Kind.HOST,
        f"Image.delete on {HOST_WORDS} reports no progress since {moment(picture.START)}",
    ),
    "away": (
        task, ({"host": str(HOST), "connected": False, "last_error": "no route"},), Kind.HOST_AWAY,
        f"Image.delete is under way on {HOST_WORDS}, which is not connected: no route",
    ),
    "never sent, away": (
        replace(task, state=TaskState.INITIALIZING), ({"host": str(HOST), "connected": False, "last_error": None},),
        Kind.HOST_AWAY, f"Image.delete cannot be sent to {HOST_WORDS}, which is not connected",
    ),
    "to be taken": (
        replace(task, state=TaskState.INITIALIZING), (), Kind.HOST,
        f"Image.delete waits to be taken by {HOST_WORDS}",
    ),
    "sent": (
        replace(task, state=TaskState.INITIALIZING, incarnation="j"),
        ({"host": str(HOST), "connected": True, "last_error": None},), Kind.HOST,
        f"Image.delete was sent to {HOST_WORDS}, whose answer is awaited",
    ),
    "function": (
        replace(task, host=None, method="noop"), (), Kind.FUNCTION, "noop runs in the engine's process",
    ),
    "until": (wait(until="is_up"), (), Kind.UNTIL, "waits until is_up, which is asked of vm web1"),
    "signal": (wait(signal="go", about=VM), (), Kind.SIGNAL, "waits for signal go about vm web1"),
    "signal about nothing": (wait(signal="go"), (), Kind.SIGNAL, "waits for signal go"),
    "approval": (
        wait(question="Go on?", permission="p"), (), Kind.APPROVAL,
        f"Go on? Who holds p may answer: `interlock job answer {JOB}`",
    ),
    "answered": (
        replace(wait(question="Go on?", permission="p"), answer_json='{"by": "eve", "answer": {}}'), (), Kind.APPROVAL,
        "Go on? eve has answered; the answer is looked at next",
    ),
    "job": (wait(job=OTHER), (), Kind.JOB, f"waits for the end of job {OTHER}, which is gone"),
}  # fmt: skip


@pytest.mark.parametrize("case", EXECUTING)
def test_what_is_under_way_says_what_for(database: Database, case: str) -> None:
    running, hosts, kind, words = EXECUTING[case]
    told = asked(database, job, root, running, hosts=hosts)
    (one,) = told["commands"]
    assert (one["kind"], one["words"], one["task"]) == (kind, words, str(TASK))
    assert told["words"] == words
    assert one["until"] == (moment(LATER) if running.deadline_at is not None else None)
    assert one["host"] == (None if running.host is None else str(HOST))


#: the root in other states, with its parts
OTHERS: dict[str, tuple[tuple[Record, ...], Kind, str]] = {
    "one part": ((root, first), Kind.PARTS, "waits for First"),
    "parts": ((root, first, pending), Kind.PARTS, "waits for 2 parts, 1 of them under way, as First"),
    "part with attention": (
        (root, first, replace(pending, attention="stuck")), Kind.PARTS,
        "waits for 2 parts, 1 of them under way, as Second",
    ),
    "more tasks": (
        (root, first, task), Kind.HOST, f"Image.delete is under way on {HOST_WORDS}, 42 % done (and 1 more)",
    ),
    "asking": ((replace(root, asking="is it kept?"),), Kind.ASKING, "a person is asked: is it kept?"),
    "stopped by a person": (
        (replace(root, stopping="cancelled", stopped_by="eve"), task), Kind.STOPPING,
        f"is being stopped by eve: cancelled; still at work: Image.delete is under way on {HOST_WORDS}, 42 % done",
    ),
    "stopped by a deadline": (
        (replace(root, stopping="its time was over"),), Kind.STOPPING, "is being stopped: its time was over",
    ),
    "nothing left": ((root,), Kind.ENGINE, "all its parts have ended; its end is due at the engine's next look"),
    "undoing": (
        (
            replace(root, state=State.COMPENSATING),
            replace(first, state=State.ENDED, result=Result.SUCCEEDED, ended_at=NOW, open=0, undo=Undo.UNDERWAY),
            replace(task, role=Role.UNDO, undoes=FIRST),
        ),
        Kind.UNDOING, f"undoes First: Image.delete is under way on {HOST_WORDS}, 42 % done",
    ),
    "undoing again": (
        (replace(root, state=State.COMPENSATING, attempts=2, retry_at=LATER),), Kind.RETRY,
        "undoing failed 2 times; it is tried again",
    ),
    "undoing next": (
        (replace(root, state=State.COMPENSATING),), Kind.ENGINE,
        "the next to be undone is due at the engine's next look",
    ),
    "end again": (
        (replace(root, state=State.FINALIZING, phase=Phase.END_SUCCESSFULLY, attempts=3, retry_at=LATER),), Kind.RETRY,
        "end_successfully failed 3 times; it is tried again",
    ),
    "end plan": (
        (
            replace(root, state=State.FINALIZING, phase=Phase.END_WITH_FAILURE, phase_ran=True),
            replace(task, role=Role.END),
        ),
        Kind.HOST, f"its failure end is under way: Image.delete is under way on {HOST_WORDS}, 42 % done",
    ),
    "end by entity": (
        (
            with_options(replace(root, state=State.FINALIZING, phase=Phase.END_SUCCESSFULLY), ends_by_entity=True),
            other, other_root, replace(task, flow_id=OTHER, command_id=OTHER),
        ),
        Kind.ENTITIES, f"its end waits for Image.delete of job {OTHER} (Other) on vm web1",
    ),
    "end due": (
        (replace(root, state=State.FINALIZING, phase=Phase.END_SUCCESSFULLY),), Kind.ENGINE,
        "its end is due at the engine's next look",
    ),
    "end attention": (
        (replace(root, state=State.FINALIZING, phase=Phase.END_SUCCESSFULLY, attention="it raised"),), Kind.ATTENTION,
        "needs a person: it raised; decide with `interlock job retry` or `force-failure`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_every_other_state_says_why(database: Database, case: str) -> None:
    records, kind, words = OTHERS[case]
    told = asked(database, job, *records)["commands"][0]
    assert (told["command"], told["kind"], told["words"]) == (str(JOB), kind, words)


def test_the_jobs_line_is_that_of_what_counts(database: Database) -> None:
    """As deep as it goes: what the part that is waited for waits for itself."""
    told = asked(database, job, root, first, replace(pending, after=(0,)), replace(task, command_id=FIRST))
    assert told["words"] == f"First: Image.delete is under way on {HOST_WORDS}, 42 % done"
    assert [each["waits_for"] for each in told["commands"]] == [str(FIRST), None, str(FIRST)]


def test_what_has_ended_waits_for_nothing(database: Database) -> None:
    picture.write(database, *(each for each in picture.RECORDS if each not in picture.entities))
    with database.reader() as connection:
        assert explaining.why(connection, picture.FAILED_JOB, (), NOW) == {
            "job_id": str(picture.FAILED_JOB), "words": "it has ended", "commands": [], "more": 0,
        }  # fmt: skip
        assert explaining.why(connection, UUID(int=12345), (), NOW) is None


def test_of_very_many_commands_it_is_said_how_many_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "ANSWERS_MAX", 2)
    told = asked(database, job, root, first, pending)
    assert (len(told["commands"]), told["more"]) == (2, 1)
