"""The program against a real server: what it prints, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from interlock.model.decisions import Decision
from interlock.model.errors import InvalidInput, Locked, Refused
from interlock.model.states import Result
from interlock.store.chain import FIRST, digest_of
from interlock.store.database import Database
from tests.cli.conftest import Interlock
from tests.cli.serving import WAIT_S, Server
from tests.views import picture

JOB, FAILED = str(picture.RUNNING_JOB), str(picture.FAILED_JOB)


def test_run_prints_the_job(server: Server, interlock: Interlock) -> None:
    ran = interlock(
        "run", "vm.remove", "vm=web1", "keep_disks:=true", "--correlation-id", "t-1", "--deadline", "2h",
        "--after", JOB, "--after", FAILED, "--after-policy", "ended",
    )  # fmt: skip
    assert (ran.code, ran.out, ran.err) == (0, f"{JOB}\n", "")
    (asked,) = server.coordinator.asked
    assert UUID(asked.pop("idempotency_key"))
    assert asked == {
        "name": "vm.remove",
        "parameters": {"vm": "web1", "keep_disks": True},
        "version": None,
        "correlation_id": "t-1",
        "user": "ann",
        "priority": 0,
        "timeout_s": 7200.0,
        "ask": False,
        "wait_for_locks": False,
        "after": [UUID(JOB), UUID(FAILED)],
        "after_policy": "ended",
    }


def test_run_shows_the_plan(server: Server, interlock: Interlock) -> None:
    ran = interlock("run", "vm.remove", "vm=web1", "--plan")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "vm.remove: Remove VM web1 [at once]",
        f"  locks vm web1 (exclusive), disk {UUID(int=2)} (shared, held by another)",
        "  disk.remove: Remove disk d1 [at once; step DISK; group 1, at most 2 at a time, stops on failure; "
        "up to 3 attempts; stopped after 3600 s; no return; best effort]",
        "    task Image.delete on host h1 [step DELETE_IMAGE; stopped after 90 s]",
        "  disk.remove: Remove disk d1 [later; step DISK; after disk.remove#0; alternative of choice 1; "
        "stopped after 3600 s; no return; best effort]",
    ]
    assert server.coordinator.asked == [{"name": "vm.remove", "parameters": {"vm": "web1"}, "version": None}]


def test_a_plan_that_is_refused_ends_as_the_command_would(server: Server, interlock: Interlock) -> None:
    server.coordinator.preview = replace(server.coordinator.preview, refusals=("VM web1 is UP; stop it first",))
    ran = interlock("run", "vm.remove", "vm=web1", "--plan", "-o", "json")
    assert (ran.code, ran.err) == (1, "interlock: VM web1 is UP; stop it first\n")
    assert json.loads(ran.out)["refusals"] == ["VM web1 is UP; stop it first"]
    assert interlock("run", "vm.remove", "vm=web1", "--plan", "--wait").code == 64


@pytest.mark.parametrize("decision", Decision)
def test_a_job_that_needs_a_person_is_settled(server: Server, interlock: Interlock, decision: Decision) -> None:
    command = str(UUID(int=5))
    more = ["--leave-tasks"] if decision in (Decision.FORCE_SUCCESS, Decision.FORCE_FAILURE) else []
    ran = interlock("job", decision, JOB, "--reason", "looked at it", "--command", command, *more)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1].startswith(JOB)
    assert server.coordinator.asked == [
        {"job_id": picture.RUNNING_JOB, "decision": decision, "by": "ann", "reason": "looked at it",
         "command_id": UUID(int=5), "leave_tasks": bool(more)},
    ]  # fmt: skip
    server.coordinator.reply = Refused("tasks may still run")
    ran = interlock("job", decision, JOB, "--reason", "x")
    assert (ran.code, ran.err) == (1, "interlock: tasks may still run\n")
    assert interlock("job", decision, JOB).code == 64


def test_run_keeps_the_key_that_is_given(server: Server, interlock: Interlock) -> None:
    ran = interlock("-o", "json", "run", "vm.remove", "vm=web1", "--idempotency-key", "k-1")
    assert json.loads(ran.out) == {"job_id": JOB, "repeated": False}
    assert server.coordinator.asked[0]["idempotency_key"] == "k-1"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("vm.remove: size: no", "vm.remove: name: no"), 64),
        (Locked("vm web1 is held by job 1", "disk d1 is held by job 2"), 1),
        (Refused("VM web1 is UP; stop it first", "and so on", job_id=picture.FAILED_JOB), 1),
        (RuntimeError("secret detail"), 3),
    ],
)
def test_a_refusal_shows_all_reasons(server: Server, interlock: Interlock, error: Exception, code: int) -> None:
    server.coordinator.reply = error
    ran = interlock("run", "vm.remove", "vm=web1")
    assert (ran.code, ran.out) == (code, "")
    if isinstance(error, Refused):
        assert ran.err.splitlines()[:2] == [f"interlock: {reason}" for reason in error.reasons]
    assert "secret" not in ran.err
    assert "Traceback" not in ran.err
    assert (FAILED in ran.err) is (getattr(error, "job_id", None) is not None)


@pytest.mark.parametrize(("result", "code"), [(Result.SUCCEEDED, 0), (Result.FAILED, 1), (Result.CANCELLED, 2)])
def test_run_waits_for_the_end(server: Server, interlock: Interlock, result: Result, code: int) -> None:
    server.when_waited_for(lambda: picture.end_running_job(server.database, result))
    ran = interlock("run", "vm.remove", "vm=web1", "--wait")
    assert ran.code == code
    ended = {0: "FINISHED", 1: "FAILED", 2: "ABORTED"}[code]
    assert ran.out.splitlines() == [
        f"job {JOB} accepted",
        "100% VALIDATING FINISHED",
        "42% EXECUTING",
        "42% DELETE_IMAGE Remove image d1",
        "42% job Remove VM web1",
        "100% EXECUTING FINISHED",
        "100% DELETE_IMAGE Remove image d1 FINISHED",
        "100% FINALIZING FINISHED",
        f"100% job Remove VM web1 {ended}",
        f"job {JOB} {result} after 10.0 s",
        'result: {"freed": 1024}',
    ]


def test_waiting_ends_with_the_time(server: Server, interlock: Interlock) -> None:
    ran = interlock("run", "vm.remove", "vm=web1", "--wait", "--timeout", "0.05")
    assert ran.code == 5
    assert ran.err.splitlines() == [
        f"interlock: job {JOB} is not over after 0.05 s; it goes on",
        f"interlock: job {JOB} goes on; come back with `interlock --socket {server.socket} job watch {JOB}`",
    ]


def test_watch_shows_the_end_of_a_failed_job(server: Server, interlock: Interlock) -> None:
    ran = interlock("job", "watch", FAILED)
    assert ran.code == 1
    assert ran.out.splitlines()[-4:] == [
        f"job {FAILED} FAILED with leftovers after 3.0 s",
        "failure: the image is gone",
        f"  - vm.remove / disk.remove: it was removed by hand (host h1, code 268, remedy: look at h1, {picture.DISK})",
        f"leftover {picture.LEFTOVER}: half an image may remain; look at h1, then clear it",
    ]


def test_watch_as_json_prints_only_the_job(server: Server, interlock: Interlock) -> None:
    ran = interlock("job", "watch", FAILED, "-o", "json")
    assert (ran.code, json.loads(ran.out)["id"]) == (1, FAILED)
    assert "40% EXECUTING FAILED" in ran.err


def test_watch_survives_a_restart_of_the_server(server: Server, interlock: Interlock) -> None:
    def restart() -> None:
        server.stop()
        picture.end_running_job(server.database)
        server.start()

    server.when_waited_for(restart)
    ran = interlock("job", "watch", JOB)
    assert (ran.code, ran.out.splitlines()[-2]) == (0, f"job {JOB} SUCCEEDED after 10.0 s")


@pytest.mark.parametrize(
    "arguments", [("jobs", "\udcff"), ("entity", "vm", "\udcff"), ("run", "vm.add", "name=\udcff")]
)
def test_an_argument_that_is_no_text_was_answered_with_a_stack_trace(
    interlock: Interlock, arguments: tuple[str, ...]
) -> None:
    ran = interlock(*arguments)
    assert ran.code == 64
    assert ran.err.endswith("\\udcff' is not UTF-8; write it in UTF-8\n")


def test_jobs_are_listed(server: Server, interlock: Interlock) -> None:
    ran = interlock("jobs")
    assert ran.out.splitlines() == [
        f"JOB{' ' * 35}STATUS                 ACTION       TITLE           DONE  STARTED (UTC)        TOOK",
        f"{JOB}  STARTED                vm.remove    Remove VM web1  42%   2026-01-01 00:00:10",
        f"{FAILED}  FAILED with leftovers  disk.remove  Remove disk d1  40%   2026-01-01 00:00:00  3.0 s",
    ]
    filtered = json.loads(interlock("jobs", "--status", "FAILED", "-o", "json").out)
    assert [each["id"] for each in filtered["jobs"]] == [FAILED]


def test_a_job_is_shown_with_what_matters(server: Server, interlock: Interlock) -> None:
    ran = interlock("job", "show", JOB)
    assert ran.code == 0
    for line in (
        "title           Remove VM web1",
        "deadline        2026-01-01 01:00:10",
        "STARTED   42%            DELETE_IMAGE Remove image d1 ",
        "3  2026-01-01 00:00:12  info      h1 took it",
    ):
        assert line in ran.out
    (task,) = [line for line in ran.out.splitlines() if line.startswith(str(picture.TASK))]
    words = f"{picture.TASK} Image.delete {picture.HOST} Polling (no progress) running 0 running job 1 of 1"
    assert task.split() == words.split()
    assert interlock("job", "show", str(UUID(int=99))).code == 1


def test_everything_else_is_shown(server: Server, interlock: Interlock) -> None:
    assert interlock("commands").out.splitlines() == [
        "COMMAND    VERSION  WHAT IT DOES",
        "vm.remove  2        Remove a stopped VM.",
        "vm.start   1",
    ]
    assert interlock("commands", "vm.remove").out.splitlines() == [
        "command  vm.remove",
        "version  2",
        "Remove a stopped VM.",
        "",
        "Its disks go with it.",
        "",
        "PARAMETER   TYPE",
        "vm          vm (name or id)  required",
        "keep_disks  boolean          default false",
        'kind        soft | hard      default "soft"',
    ]
    assert interlock("commands", "nothing").code == 64
    assert interlock("entity", "vm").out.splitlines()[1].split() == ["web1", "REMOVING", str(picture.VM.id)]
    assert f"ref   {picture.DISK}\nname  d1\nsize  1024\n" in interlock("entity", "disk", "d1").out
    assert interlock("entity", "disk", "d9").code == 1
    assert "half an image may remain" in interlock("locks").out
    assert json.loads(interlock("hosts", "-o", "json").out)["hosts"][0]["connected"] is True
    assert interlock("hosts").out.splitlines()[1].split()[:2] == ["h1:54321", "yes"]


BROKEN = f"step {picture.FAILED_STEP_FINALIZING} is PENDING and its job {picture.FAILED_JOB} has ended"


def test_verify_names_what_is_wrong(server: Server, interlock: Interlock) -> None:
    asked = interlock("verify")
    assert (asked.code, asked.out) == (1, f"INVARIANT  WHAT IS WRONG\n19         {BROKEN}\n")
    digest = digest_of(2, picture.actions[1], digest_of(1, picture.actions[0], FIRST))
    read = interlock("verify", "--database", server.database.name, "-o", "json")
    assert (read.code, json.loads(read.out)) == (
        1,
        {"violations": [{"number": 19, "message": BROKEN}], "last_action": {"number": 2, "digest": digest}},
    )
    assert interlock("verify", "--digest", digest).out == asked.out
    assert "digest 1111" in interlock("verify", "--database", server.database.name, "--digest", "1" * 64).out
    assert interlock("verify", "--digest", "short").code == 64


def test_actions_are_listed_for_people(server: Server, interlock: Interlock) -> None:
    listed = interlock("actions", "--by", "ann", "--limit", "1")
    job = picture.RUNNING_JOB
    assert (listed.code, listed.out.splitlines()) == (0, [
        "N  AT (UTC)             BY   WHAT        SUBJECT                                   REASON     BEFORE    AFTER",
        f"2  2026-01-01 00:00:10  ann  job.submit  job:{job}  it is old  {{\"a\": 1}}  {{\"a\": 2}}",
        "",
        "more: --before 2",
    ])  # fmt: skip
    found = json.loads(interlock("actions", "--job", str(picture.FAILED_JOB), "-o", "json").out)
    assert [each["number"] for each in found["actions"]] == [1]
    assert interlock("actions", "--job", str(job), "--subject", f"job:{job}").code == 64


def test_verify_of_a_sound_database_is_0(interlock: Interlock, tmp_path: Path) -> None:
    Database.open(f"sqlite:///{tmp_path / 'empty.db'}").close()
    ran = interlock("verify", "--database", str(tmp_path / "empty.db"))
    assert (ran.code, ran.out) == (0, "all invariants hold\n")


def test_verify_of_no_database_says_so(interlock: Interlock, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    for path in (tmp_path / "nothing", tmp_path / "text", tmp_path):
        ran = interlock("verify", "--database", str(path))
        assert (ran.code, ran.out) == (1, "")
        assert str(path) in ran.err
        assert "Traceback" not in ran.err


def test_a_leftover_is_cleared_with_a_reason(server: Server, interlock: Interlock) -> None:
    assert str(picture.LEFTOVER) in interlock("leftovers").out
    assert interlock("leftover", "clear", str(picture.LEFTOVER)).code == 64
    ran = interlock("leftover", "clear", str(picture.LEFTOVER), "--reason", "looked", "-o", "json")
    assert (ran.code, json.loads(ran.out)["cleared_reason"]) == (0, "looked")
    assert str(picture.LEFTOVER) not in interlock("leftovers").out


def test_what_could_steer_a_terminal_is_shown_as_an_escape(server: Server, interlock: Interlock) -> None:
    server.coordinator.reply = Refused("name \x1b[31mred\nINFO all is well")
    ran = interlock("run", "vm.remove", "vm=x")
    assert ran.err == "interlock: name \\x1b[31mred\\nINFO all is well\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("run",),
        ("run", "vm.remove", "web1"),
        ("run", "vm.remove", "--timeout", "1"),
        ("run", "vm.remove", "--wait", "--timeout", "-1"),
        ("jobs", "--limit", "0"),
        ("jobs", "--status", "RUNNING"),
        ("jobs", "--bogus"),
        ("job", "show", "web1"),
        ("-o", "xml", "jobs"),
        ("host-certificate", "h1"),
    ],
)
def test_a_wrong_call_is_64(server: Server, interlock: Interlock, arguments: tuple[str, ...]) -> None:
    ran = interlock(*arguments)
    assert ran.code == 64
    assert "Traceback" not in ran.err
    assert server.coordinator.asked == []


def test_without_a_server_it_says_so(interlock: Interlock) -> None:
    ran = interlock("jobs")
    assert ran.code == 1
    assert "no server answers on" in ran.err
    assert "interlock serve" in ran.err


def test_every_command_has_help_with_an_example(interlock: Interlock) -> None:
    for command in ("run", "jobs", "job show", "job why", "job watch", "events", "steps", "fields", "commands",
                    "entity", "locks", "leftovers", "leftover clear", "hosts", "verify", "serve",
                    "host-certificate"):  # fmt: skip
        ran = interlock(*command.split(), "--help")
        assert ran.code == 0
        assert f"Examples:\n    interlock {command}" in ran.out, command


def test_a_client_loads_neither_coordinator_nor_database() -> None:
    code = (
        "import sys, interlock.cli.program as program\n"
        "program.run(['jobs'])\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'sqlalchemy', 'fastapi', 'alembic'}))\n"
        "print([name for name in sys.modules if name.startswith('interlock.coordinator')])\n"
    )
    environment = {**os.environ, "INTERLOCK_SOCKET": "/nonexistent/s"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert ran.stdout == "[]\n[]\n"


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(server: Server, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "interlock.cli", "--socket", str(server.socket), "job", "watch", JOB]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "100% VALIDATING FINISHED\n"
        watching.send_signal(signal.SIGINT)
        try:
            _, err = watching.communicate(timeout=WAIT_S)
        finally:
            watching.kill()
    assert watching.returncode == 5
    assert err.splitlines() == [
        f"interlock: job {JOB} goes on; come back with `interlock --socket {server.socket} job watch {JOB}`"
    ]


def test_limits_are_set_listed_and_removed(server: Server, interlock: Interlock) -> None:
    ran = interlock("limit", "set", "host:h1", "--at-most", "2", "--starts", "10", "--per", "1m", "--reason", "slow")
    assert (ran.code, ran.out) == (0, "host:h1\n")
    assert interlock("limit", "remove", "host:h1").out == "host:h1\n"
    given = {"at_most": 2, "starts_max": 10, "window_s": 60.0, "reason": "slow"}
    assert server.coordinator.asked == [
        {"limit": "host:h1", "by": "ann", **given},
        {"no limit": "host:h1", "by": "ann", "reason": ""},
    ]
    assert interlock("limit", "list").out == "LIMIT  RUNNING  STARTED  WAITING  SET BY\n"
    assert interlock("limit", "set", "host:h1", "--at-most", "-1").code == 64


def test_schedules_are_listed_shown_and_made(server: Server, interlock: Interlock) -> None:
    listed = interlock("schedule", "list")
    assert (listed.code, listed.out.splitlines()) == (0, [
        "NAME     COMMAND    CRON       ZONE           NEXT (UTC)           STATE                    RUNS  SKIPPED",
        "nightly  vm.remove  0 2 * * *  Europe/Berlin  2026-01-01 01:00:00  failed 1 times in a row  1     2",
    ])  # fmt: skip
    shown = interlock("schedule", "show", "nightly").out
    assert "last skipped  2026-01-01 00:00:00 it was late" in shown
    assert "next (UTC)    2026-01-01 01:00:00, 2026-01-02 01:00:00, 2026-01-03" in shown
    made = interlock("schedule", "add", "nightly", "vm.remove", "vm=web1", "--at", "2027-01-01T00:00", "--late", "60")
    assert (made.code, made.out) == (0, shown)
    asked = server.coordinator.asked[-1]
    assert (asked["at"], asked["late_s_max"], asked["parameters"]) == ("2027-01-01T00:00", 60, {"vm": "web1"})
    for words in (("change", "--cron", "0 3 * * *"), ("pause", "--reason", "loud"), ("resume",), ("remove",)):
        assert interlock("schedule", words[0], "nightly", *words[1:]).code == 0
    assert [next(iter(each)) for each in server.coordinator.asked[-4:]] == ["change", "pause", "resume", "remove"]
    assert interlock("schedule", "show", "daily").code == 1


def test_retention_is_shown_and_run_until_all_is_done(server: Server, interlock: Interlock) -> None:
    assert interlock("retention").out.splitlines() == [
        "days kept, succeeded   7",
        "days kept, others      30",
        "days kept, by command  host.scan 0.5",
        "would go: 3 jobs, 1 signals",
        "kept: 2, since its time has not come",
    ]
    assert interlock("retention", "--now").out == "removed: 3 jobs, 0 signals\n" * 2
    assert server.coordinator.asked == [{"clean": "ann"}] * 2
    assert interlock("serve", "--keep", "host.scan").code == 64
