"""Children: their fate is told truly by whichever agent asks, also of one that has not begun yet."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from interlock.agent.effects.attending import end_children
from interlock.agent.storage import qemu_img
from interlock.agent.storage.domain import Domains
from interlock.agent.storage.qemu_img import QemuImg
from interlock.agent.tasks.children import Child, Children, Fate, Verdict
from interlock.agent.tasks.steps import Host
from interlock.verbs import VolumeFormat
from tests.agent.asked import asked, fresh
from tests.agent.processes import running, until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ThreadPoolExecutor(2) as threads:
        yield Host(Domains(()), QemuImg(), Children(tmp_path / "jobs"), threads, tmp_path, lambda pool_id: [])


async def over(child: Child) -> Verdict:
    """The verdict once the child does not run any more."""
    found: Verdict = await until(lambda: (v := child.judge()).fate is not Fate.RUNNING and v, "the child is over")
    return found


@pytest.mark.parametrize("status", [0, 3])
async def test_the_exit_status_is_known_to_the_agent_and_to_a_later_one(host: Host, status: int) -> None:
    child = host.children.start("t", "c", ["sh", "-c", 'echo "$2" >&2; exit "$1"', "x", str(status), "a\nword"])
    assert await over(child) == Verdict(Fate.ENDED, status)
    later = Children(child.folder.parent.parent).find("t", "c")
    assert later is not None
    assert later.judge() == Verdict(Fate.ENDED, status)
    assert later.error_text() == "a word"
    host.children.forget("t")
    assert host.children.names() == []


async def test_arguments_reach_the_command_as_they_are(host: Host) -> None:
    odd = ["$(id)", "`id`", "; id", "a  b", "'", '"', "\\", "*", "-n", ""]
    child = host.children.start("t", "c", ["printf", "%s\\n", *odd])
    await over(child)
    assert child.output().decode().splitlines() == odd
    host.children.forget("t")


async def test_a_child_that_is_killed_with_its_shim_has_died(host: Host) -> None:
    child = host.children.start("t", "c", ["sleep", "600"])
    who = await until(child.identity, "the command runs")
    assert child.judge() == Verdict(Fate.RUNNING)
    os.killpg(os.getpgid(who.pid), signal.SIGKILL)
    assert await over(child) == Verdict(Fate.DIED)
    host.children.forget("t")


async def test_a_command_whose_shim_alone_was_killed_still_runs(host: Host) -> None:
    child = host.children.start("t", "c", ["sleep", "600"])
    who = await until(child.identity, "the command runs")
    os.kill(int(Path(f"/proc/{who.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
    await until(lambda: child._process is not None and child._process.poll() is not None, "the shim is gone")
    assert child.judge() == Verdict(Fate.RUNNING)
    await end_children(host, "t")
    assert child.judge() == Verdict(Fate.DIED)
    assert running(child.folder) is None
    host.children.forget("t")


@pytest.mark.hard_case(8)
async def test_a_child_judged_dead_before_it_took_its_lock_does_nothing_when_it_wakes(
    host: Host, tmp_path: Path
) -> None:
    job = tmp_path / "jobs" / "t" / "c"
    job.mkdir(parents=True)
    touched = tmp_path / "touched"
    with (job / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the shim is spawned, and will wait here as if it had not been run yet
        child = host.children.start("t", "c", ["touch", str(touched)])
        other_agents = Child(job, None)
        fcntl.flock(lock, fcntl.LOCK_UN)
        verdict = other_agents.judge()
    if verdict.fate is Fate.DIED:  # that agent was faster than the shim
        await over(child)
        assert not touched.exists()
    else:
        assert await over(child) == Verdict(Fate.ENDED, 0)
    host.children.forget("t")


@pytest.mark.hard_case(8)
async def test_a_marked_child_never_begins(host: Host, tmp_path: Path) -> None:
    job = tmp_path / "jobs" / "t" / "c"
    job.mkdir(parents=True)
    assert Child(job, None).judge() == Verdict(Fate.DIED)
    touched = tmp_path / "touched"
    child = host.children.start("t", "c", ["touch", str(touched)])
    assert await over(child) == Verdict(Fate.DIED)
    assert not touched.exists()
    host.children.forget("t")


@pytest.mark.hard_case(8)
async def test_another_process_with_the_same_number_is_not_killed(host: Host, tmp_path: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "600")
    job = tmp_path / "jobs" / "t" / "c"
    job.mkdir(parents=True)
    line = Path(f"/proc/{bystander.pid}/stat").read_text()
    head, tail = line.rsplit(")", 1)
    fields = tail.split()
    fields[19] = str(int(fields[19]) - 1)  # a start time before its own
    (job / "stat").write_text(f"{head}) {' '.join(fields)}\n")
    (job / "boot_id").write_text(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    Child(job, None).kill()
    (job / "stat").write_text(line)
    (job / "boot_id").write_text("another boot")
    Child(job, None).kill()
    assert bystander.returncode is None
    bystander.kill()
    assert await bystander.wait() == -signal.SIGKILL


async def test_a_child_is_ended_whoever_started_it(host: Host) -> None:
    own = host.children.start("t", "c", ["sleep", "600"])
    who = await until(own.identity, "the command runs")
    adopted = Child(own.folder, None)
    later = replace(host, children=Children(own.folder.parent.parent))
    await end_children(later, "t")
    assert adopted.judge() == Verdict(Fate.ENDED, 137)
    assert adopted.identity() == who
    assert running(own.folder) is None
    host.children.forget("t")


async def test_ending_children_that_are_forgotten_meanwhile_is_fine(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = host.children.start("t", "c", ["true"])
    await over(child)
    monkeypatch.setattr(Children, "of", lambda children, task_id: [child])
    shutil.rmtree(child.folder.parent)
    await end_children(host, "t")


async def test_a_child_that_still_runs_is_not_forgotten(host: Host) -> None:
    child = host.children.start("t", "c", ["sleep", "600"])
    await until(child.identity, "the command runs")
    host.children.forget("t")
    assert host.children.names() == ["t"]
    await end_children(host, "t")
    host.children.forget("t")
    assert host.children.names() == []


async def test_an_orphan_that_cannot_be_ended_does_not_end_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    orphan = fresh()
    (tmp_path / "state" / "jobs" / orphan / "c").mkdir(parents=True)
    monkeypatch.setattr("interlock.agent.tasks.children.durable.write_whole", full)
    with capture_logs() as lines:
        async with asked(tmp_path):
            line = await until(lambda: lines and lines[0], "the orphan is given up")
    assert line == {
        "event": "orphan_not_ended",
        "log_level": "error",
        "task_id": orphan,
        "reason": "[Errno 28] No space left on device",
    }


@pytest.mark.hard_case(8)
@pytest.mark.parametrize(("is_direct", "cache"), [(True, "none"), (False, "writeback")])
def test_a_copy_that_succeeded_is_on_the_disk_also_where_there_is_no_direct_io(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_direct: bool, cache: str
) -> None:
    monkeypatch.setattr(qemu_img, "_takes_direct_io", lambda path: is_direct)
    command = QemuImg().convert_command((tmp_path / "a", VolumeFormat.RAW), (tmp_path / "b", VolumeFormat.RAW))
    assert command[command.index("-t") + 1] == cache
