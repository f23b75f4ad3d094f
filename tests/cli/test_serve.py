"""`interlock serve` as a real process: started, used, stopped, killed, started again."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.app import CannotServe, issue_host_certificate, load_catalog
from interlock.config import ServeConfig
from tests.cli.conftest import Interlock, Ran
from tests.cli.small_catalog import CATALOG
from tests.databases import empty_url

WAIT_S = 30.0
CATALOG_NAME = "tests.cli.small_catalog:CATALOG"


class Serving:
    """Starts servers on one state folder; kills what is left."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        """A server that is ready."""
        arguments = [sys.executable, "-m", "interlock.cli", "serve", "--state", str(self.state)]
        process = subprocess.Popen(
            [*arguments, "--catalog", CATALOG_NAME], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._started.append(process)
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], WAIT_S)[0]
        assert process.stdout.readline() == f"interlock: ready on {self.state}/interlock.sock\n"
        return process

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate(timeout=WAIT_S)


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    made = Serving(tmp_path / "state")
    monkeypatch.setenv("INTERLOCK_SOCKET", str(made.state / "interlock.sock"))
    yield made
    made.close()


@pytest.fixture
def talk(serving: Serving, interlock: Interlock, monkeypatch: pytest.MonkeyPatch) -> Interlock:
    """The command line, talking to the server of `serving`."""
    monkeypatch.setenv("INTERLOCK_SOCKET", str(serving.state / "interlock.sock"))
    return interlock


def test_commands_run_to_their_ends(serving: Serving, talk: Interlock) -> None:
    serving.start()
    added = talk("run", "box.add", "name=b1", "status=UP", "--wait", "-o", "json")
    assert added.code == 0
    job: Any = json.loads(added.out)
    assert (job["title"], job["result"]) == ("Add box b1", "SUCCEEDED")
    assert job["value"].startswith("box:")
    shown = json.loads(talk("entity", "box", "b1", "-o", "json").out)
    assert (shown["ref"], shown["status"]) == (job["value"], "UP")

    refused = talk("run", "box.remove", "box=b1")
    (listed,) = json.loads(talk("jobs", "--status", "FAILED", "-o", "json").out)["jobs"]
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines() == [
        "interlock: box b1 is UP; stop it first",
        "interlock: and mind the other one",
        f"interlock: `interlock job show {listed['id']}` shows it",
    ]
    assert talk("run", "box.remove", "box=b2").err == (
        "interlock: box.remove: box: there is no box named 'b2'; `interlock entity box` lists them\n"
    )
    assert talk("verify").out.startswith("all invariants hold\nlast action ")


def test_a_key_names_one_job(serving: Serving, talk: Interlock) -> None:
    serving.start()
    first = talk("run", "box.add", "name=b1", "--idempotency-key", "k")
    again = talk("run", "box.add", "name=b1", "--idempotency-key", "k")
    assert (first.code, again.code, first.out) == (0, 0, again.out)
    other = talk("run", "box.add", "name=b2", "--idempotency-key", "k")
    assert (other.code, other.out) == (1, "")


def test_the_state_is_for_nobody_else(serving: Serving) -> None:
    serving.start()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in serving.state.iterdir()}
    assert stat.S_IMODE(serving.state.stat().st_mode) == 0o700
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    assert {"interlock.sock", "state.db", "state.db.key", "pki"} <= set(modes)


def test_a_second_server_is_refused_and_harms_nothing(serving: Serving, talk: Interlock) -> None:
    first = serving.start()
    second = talk("serve", "--state", str(serving.state), "--catalog", CATALOG_NAME)
    assert (second.code, second.out) == (1, "")
    assert f"{serving.state}/state.db is in use by process {first.pid}" in second.err
    assert talk("jobs").code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_stops_it_cleanly(serving: Serving, talk: Interlock, number: int) -> None:
    process = serving.start()
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert not (serving.state / "interlock.sock").exists()
    assert talk("jobs").code == 1


def test_after_a_kill_the_next_server_takes_over_socket_and_jobs(serving: Serving, talk: Interlock) -> None:
    process = serving.start()
    accepted = talk("run", "box.add", "name=b1").out.strip()
    process.kill()
    process.wait(WAIT_S)
    assert (serving.state / "interlock.sock").is_socket()
    serving.start()
    assert talk("job", "watch", accepted, "--timeout", "20").code == 0


def test_it_serves_from_postgresql(serving: Serving, talk: Interlock, monkeypatch: pytest.MonkeyPatch) -> None:
    with empty_url("postgresql") as url:
        monkeypatch.setenv("INTERLOCK_DATABASE", f"{url}&password=hunter2")
        first = serving.start()
        accepted = talk("run", "box.add", "name=b1").out.strip()
        second = talk("serve", "--state", str(serving.state), "--catalog", CATALOG_NAME)
        assert (second.code, second.out) == (1, "")
        assert f" is in use by interlock {first.pid} on {socket.gethostname()}" in second.err
        assert talk("verify", "--database", url).out.startswith("all invariants hold\n")
        first.kill()
        _, logged = first.communicate(timeout=WAIT_S)
        serving.start()
        assert talk("job", "watch", accepted, "--timeout", "20").code == 0
        assert not (serving.state / "state.db").exists()
        assert (serving.state / "state.db.key").exists()
        assert "hunter2" not in second.err + logged
        serving.close()


@pytest.mark.parametrize(
    "url", ["postgresql://ann:hunter2@h/jobs", "postgresql://h/jobs?password=hunter2", "postgresql://a:hunter2@[/x"]
)
def test_a_password_may_not_stand_on_the_command_line(interlock: Interlock, tmp_path: Path, url: str) -> None:
    for ran in (
        interlock("serve", "--state", str(tmp_path / "state"), "--database", url),
        interlock("verify", "--database", url),
    ):
        assert (ran.code, ran.out) == (64, "")
        assert "put it into PGPASSWORD or a password file" in ran.err
        assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "'nothing' does not name a catalog; write module:name"),
        (
            "no.such.module:CATALOG",
            "the catalog no.such.module:CATALOG cannot be loaded: ModuleNotFoundError: No module named 'no'",
        ),
        ("os:path", "os:path is not a catalog; os must have path = Catalog(…)"),
    ],
)
def test_a_wrong_catalog_is_named(name: str, reason: str) -> None:
    with pytest.raises(CannotServe) as refused:
        load_catalog(name)
    assert str(refused.value).partition(" (")[0] == reason


def test_a_catalog_that_fails_to_load_is_named_with_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_commands.py").write_text("x = 1\nraise TypeError('vm.add is registered twice')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(CannotServe) as refused:
        load_catalog("broken_commands:CATALOG")
    assert str(refused.value) == (
        "the catalog broken_commands:CATALOG cannot be loaded: TypeError: vm.add is registered twice "
        f"({tmp_path}/broken_commands.py:2)"
    )


def test_a_catalog_is_loaded_by_name() -> None:
    assert load_catalog(CATALOG_NAME) is CATALOG


def test_a_state_folder_that_cannot_be_is_named(interlock: Interlock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = interlock("serve", "--state", str(tmp_path / "file"), "--catalog", CATALOG_NAME)
    assert (ran.code, ran.err) == (
        1,
        f"interlock: cannot use {tmp_path / 'file'} as the state folder: File exists\n",
    )


def test_a_path_too_long_for_a_socket_is_named(interlock: Interlock, tmp_path: Path) -> None:
    state = tmp_path / ("x" * 120)
    ran = interlock("serve", "--state", str(state), "--catalog", CATALOG_NAME)
    assert ran.code == 1
    assert f"cannot listen on {state}/interlock.sock: AF_UNIX path too long" in ran.err


def test_a_host_certificate_is_issued(interlock: Interlock, tmp_path: Path) -> None:
    out = tmp_path / "h1"
    ran = interlock(
        "host-certificate", "h1.example.org", "192.0.2.7", "--state", str(tmp_path / "state"), "--out", str(out)
    )
    assert (ran.code, ran.out) == (0, f"wrote ca.pem, cert.pem and key.pem to {out}\n")
    assert {"ca.pem", "cert.pem", "key.pem"} <= {path.name for path in out.iterdir()}
    assert stat.S_IMODE((out / "key.pem").stat().st_mode) == 0o600
    wrong = interlock("host-certificate", "H1/..", "--state", str(tmp_path / "state"), "--out", str(out))
    assert (wrong.code, "Traceback" in wrong.err) == (64, False)
    with pytest.raises(CannotServe, match="cannot write the certificate"):
        issue_host_certificate(ServeConfig(tmp_path / "state"), "h2", (), Path("/dev/null/h2"))


def test_the_agent_has_its_own_options(interlock: Interlock) -> None:
    helped = interlock("agent", "--help")
    assert helped.code == 0
    assert "--storage-root" in helped.out
    assert interlock("agent", "--bogus").code == 64


def test_the_module_is_the_program() -> None:
    environment = {**os.environ, "INTERLOCK_SOCKET": "/nonexistent/s"}
    ran = subprocess.run(
        [sys.executable, "-m", "interlock.cli", "jobs"], capture_output=True, text=True, timeout=WAIT_S, env=environment
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("interlock: no server answers on /nonexistent/s")


def test_a_socket_that_nobody_listens_on_is_no_server(interlock: Interlock, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    assert interlock("jobs").code == 1


def test_a_job_waits_for_a_monitor_a_signal_and_a_person(
    interlock: Interlock, serving: Serving, tmp_path: Path
) -> None:
    """From one terminal another's job is brought on, across a restart of the server."""
    process = serving.start()
    assert interlock("run", "box.add", "name=b", "--wait").code == 0
    job = interlock("run", "box.open", "box=b").out.strip()
    assert interlock("report", "box.seen", "box:b", "status=UP").out == f"box.seen was told of {box_of(interlock)}\n"
    process.kill()
    process.communicate(timeout=WAIT_S)
    serving.start()
    assert interlock("signal", "key", "--job", job, "--about", "box:b", "n:=7").code == 0
    asked = until(
        lambda: interlock("-o", "json", "job", "questions", job), lambda ran: json.loads(ran.out)["questions"]
    )
    assert [each["question"] for each in json.loads(asked.out)["questions"]] == ["May it be opened?"]
    assert "May it be opened?" in interlock("job", "show", job).out
    shown = interlock("job", "questions", job)
    assert "approve (boolean), reason (string, optional)" in shown.out
    ran = interlock("job", "answer", job, "approve=perhaps")
    assert (ran.code, "approve: Input should be a valid boolean" in ran.err) == (64, True)
    assert interlock("job", "answer", job, "approve:=true").out == "answered\n"
    ran = interlock("job", "watch", job)
    assert ran.code == 0, ran.err
    assert interlock("signal", "key", "--job", job).err == (
        f"interlock: job {job} has ended SUCCEEDED; nothing of it waits for a signal any more\n"
    )
    assert interlock("verify").code == 0


def test_several_commands_in_one_call(interlock: Interlock, serving: Serving, tmp_path: Path) -> None:
    serving.start()
    call = tmp_path / "call.json"
    call.write_text(json.dumps([{"command": "box.add", "parameters": {"name": name}} for name in "abc"]))
    ran = interlock("call", str(call), "--order", "sequential")
    assert (ran.code, ran.err) == (0, "")
    jobs = ran.out.split()
    assert [interlock("job", "watch", job).code for job in jobs] == [0, 0, 0]
    up = {"command": "box.add", "parameters": {"name": "u", "status": "UP"}}
    call.write_text(json.dumps([up]))
    assert interlock("job", "watch", interlock("call", str(call)).out.strip()).code == 0
    call.write_text(json.dumps([{"command": "box.remove", "parameters": {"box": name}} for name in "au"]))
    ran = interlock("call", str(call))
    assert ran.err.startswith("interlock: box u is UP; stop it first\ninterlock: and mind the other one\n")
    assert ran.code == 1
    assert len(json.loads(interlock("-o", "json", "entity", "box").out)["entities"]) == 4, "none was removed"
    for text, words in (("{}", "has no list"), ("[", "cannot be read as JSON")):
        call.write_text(text)
        ran = interlock("call", str(call))
        assert (ran.code, words in ran.err) == (64, True)


def box_of(interlock: Interlock) -> str:
    """The ref of the only box."""
    [box] = json.loads(interlock("-o", "json", "entity", "box").out)["entities"]
    return f"box:{box['id']}"


def until(ask: Callable[[], Ran], holds: Callable[[Ran], Any]) -> Ran:
    """Asks another process until the answer is as wanted, for a bounded time."""
    deadline = time.monotonic() + WAIT_S
    while not holds(ran := ask()):
        assert time.monotonic() < deadline, ran
        time.sleep(0.05)
    return ran
