"""Searching on the command line: pages, mistakes shown where they are, following the log."""

import json
import threading

import pytest

from interlock.cli import search_commands
from interlock.model.records import EventRecord, Severity
from tests.cli.conftest import Interlock
from tests.cli.serving import WAIT_S, Server
from tests.views import picture

FAILED, RUNNING = str(picture.FAILED_JOB), str(picture.RUNNING_JOB)


def test_jobs_are_searched_page_by_page(server: Server, interlock: Interlock) -> None:
    first = interlock("jobs", "user = ann", "--limit", "1")
    assert (first.code, RUNNING in first.out, FAILED in first.out) == (0, True, False)
    cursor = first.err.strip().removeprefix("(more with --after ").removesuffix(")")
    second = interlock("jobs", "user = ann", "--after", cursor)
    assert (second.code, RUNNING in second.out, FAILED in second.out, second.err) == (0, False, True, "")
    found = json.loads(interlock("jobs", "status = failed", "-o", "json").out)
    assert ([each["id"] for each in found["jobs"]], found["next"], found["partial"]) == ([FAILED], None, False)


def test_a_mistake_in_a_query_is_pointed_at(server: Server, interlock: Interlock) -> None:
    ran = interlock("jobs", "user = ann and stauts = failed")
    assert (ran.code, ran.out) == (64, "")
    assert ran.err.splitlines() == [
        "user = ann and stauts = failed",
        "               ^",
        "interlock: unknown field 'stauts'; did you mean status? (column 16)",
    ]


def test_everything_else_is_searched_too(server: Server, interlock: Interlock) -> None:
    assert "DELETE_IMAGE" in interlock("steps", "status = started").out
    assert "disk.remove_image" in interlock("commands", "-q", "state = executing").out
    assert "web1" in interlock("entity", "vm", "--query", "name = web*").out
    ran = interlock("events", "kind = task_answered")
    shown = [cell for cell in ran.out.splitlines()[1].split("  ") if cell]
    assert shown == ["2026-01-01 00:00:12", "info", RUNNING, "task_answered", "h1 took it"]
    assert "how it stands" in interlock("fields").out
    assert "its place in the log of all jobs" in interlock("fields", "events").out
    assert "version" in interlock("fields", "vm").out
    assert json.loads(interlock("fields", "steps", "-o", "json").out)["sorted_by"] == "started"


def test_why_a_job_waits_is_said(server: Server, interlock: Interlock) -> None:
    words = f"Image.delete on {picture.HOST} reports no progress since 2026-01-01T00:00:12.000000Z"
    ran = interlock("job", "why", RUNNING)
    assert (ran.code, ran.out.splitlines()[0]) == (0, f"Remove image d1: {words}")
    assert [line.split("  ")[0] for line in ran.out.splitlines()[4:]] == ["Remove VM web1", "Remove image d1"]
    assert f"Remove image d1: {words}" in interlock("job", "show", RUNNING).out
    assert interlock("job", "why", FAILED).out == "it has ended\n"
    assert "why" not in interlock("job", "show", FAILED).out
    assert json.loads(interlock("job", "why", RUNNING, "-o", "json").out)["more"] == 0


def test_what_changed_is_listed(server: Server, interlock: Interlock) -> None:
    ran = interlock("jobs", "--modified-since", "0")
    assert (ran.code, FAILED in ran.out, RUNNING in ran.out) == (0, True, True)
    assert f"(later changes with --modified-since 0.{picture.RUNNING_JOB.hex})" in ran.err
    assert json.loads(interlock("jobs", "--modified-since", "now", "-o", "json").out)["jobs"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "user = ann", "--status", "FAILED"), ("jobs", "user = ann", "--modified-since", "0"),
        ("events", "-f", "--after", "x"), ("commands", "vm.remove", "-q", "state = pending"),
        ("entity", "vm", "web1", "-q", "name = web1"), ("jobs", "user ="), ("jobs", "--modified-since", "x"),
        ("steps",), ("jobs", "user = ann", "--after", "x"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_64(server: Server, interlock: Interlock, arguments: tuple[str, ...]) -> None:
    ran = interlock(*arguments)
    assert (ran.code, ran.out) == (64, "")
    assert ran.err.startswith(("interlock: ", "user ="))


# httpcore leaves a socket to the collector where nobody answers at it
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_log_is_followed_over_a_restart_of_the_server(
    server: Server, interlock: Interlock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was written while no server answered is printed as well; events that are not asked for are not."""
    monkeypatch.setattr(search_commands, "FOLLOW_EVERY_S", 0.01)
    lines: list[str] = []
    seen = {"one": threading.Event(), "two": threading.Event()}
    asked = threading.Event()
    real = search_commands._pointed

    def pointed(*arguments: object, **options: object) -> object:
        found = real(*arguments, **options)  # type: ignore[arg-type]  # as it was called
        asked.set()
        return found

    def write(line: str) -> None:
        lines.append(line)
        for word, event in seen.items():
            if line.endswith(word):
                event.set()
        if seen["two"].is_set():
            raise KeyboardInterrupt

    monkeypatch.setattr(search_commands, "_pointed", pointed)
    monkeypatch.setattr(search_commands, "write", write)

    def happen() -> None:
        assert asked.wait(WAIT_S)
        picture.write(server.database, _event(4, "job_paused", "not asked for"), _event(5, "logged", "one"))
        assert seen["one"].wait(WAIT_S)
        server.stop()
        picture.write(server.database, _event(6, "logged", "two"))
        server.start()

    others = threading.Thread(target=happen)
    others.start()
    assert interlock("events", "-f", "kind = logged").code == 130
    others.join(WAIT_S)
    assert [line.rpartition("  ")[2] for line in lines] == ["one", "two"]


def _event(seq: int, kind: str, message: str) -> EventRecord:
    return EventRecord(picture.RUNNING_JOB, seq, picture.START, Severity.INFO, kind, message, "ticket-2")
