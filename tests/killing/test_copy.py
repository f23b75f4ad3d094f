"""A copy of 1 GiB of real data, whose agent (and coordinator, or its own process) is killed in the middle of it."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.tasks.children import ProcessId
from interlock.testing.site import Site, wait_for
from tests.agent.processes import running
from tests.killing import loop

SIZE = 1 << 30
BLOCK = 16 << 20
#: bytes per second: a copy takes some five seconds, which the restart of both processes fits in
RATE = 192 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose VM web1 has one disk, full of random data; both processes are up before and after each test."""
    with Site(tmp_path_factory.mktemp("copy"), forked=True, copy_rate_bytes_per_s=RATE) as site:
        site.start_server("--poll", "0.1")
        site.start_agent()
        loop.add_storage(site)
        site.do("vm.add", name="web1", domain="sd1", disks=[{"size": SIZE}])
        fill(file_of(site, "web1_disk1"), site.folder / "data.raw")
        yield site


def fill(image: Path, data: Path) -> None:
    """Writes SIZE bytes of data, no part of it zero, into a qcow2 file."""
    block = os.urandom(BLOCK)
    with data.open("wb") as file:
        for _ in range(SIZE // BLOCK):
            file.write(block)
    command = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", "-t", "none", str(data), str(image)]
    subprocess.run(command, check=True)
    data.unlink()
    assert image.stat().st_size > SIZE


def file_of(site: Site, name: str) -> Path:
    """The file of a disk, by the rows."""
    [(text,)] = site.rows("SELECT body_json FROM entities WHERE type = 'disk' AND name = ?", name)
    body: dict[str, str] = json.loads(text)
    return site.storage / body["domain"].partition(":")[2] / "images" / body["image_id"] / body["volume_id"]


class Copy:
    """A template of web1 being made: its job, and the process that copies."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, name
        self.job_id = site.submit("template.create", name=name, vm="web1")
        self.folder = wait_for("qemu-img runs", self._folder)
        process = running(self.folder)
        assert process is not None, "a copy takes longer than to look twice"
        self.process: ProcessId = process
        self.target = file_of(site, f"{name}_disk1")
        wait_for("a good part is written", lambda: self.written() > SIZE // 8)

    def _folder(self) -> Path | None:
        folders = (self.site.folder / "agent" / "jobs").glob("*/copy")
        return next(filter(running, folders), None)  # that of a copy that has ended may still be there

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    def written(self) -> int:
        """How much of the copy lies on the disk, bytes."""
        return self.part.stat().st_blocks * 512 if self.part.exists() else 0

    def is_in_the_middle(self) -> bool:
        """Whether the process of the beginning still runs, and the copy is not whole."""
        return running(self.folder) == self.process and not self.target.exists()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it the copy stands still, however long anything else takes."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def is_whole(self) -> bool:
        """Whether the copy holds exactly what web1's disk holds."""
        source = file_of(self.site, "web1_disk1")
        compare = ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", str(source), str(self.target)]
        return subprocess.run(compare).returncode == 0

    def begun(self) -> int:
        """How often the journal shows its start."""
        return loop.begun(self.site, "Volume.copy", "dstImgUUID", self.target.parent.name)

    def template(self) -> list[tuple[Any, ...]]:
        return self.site.rows("SELECT status FROM entities WHERE type = 'template' AND name = ?", self.name)

    def succeeded(self) -> None:
        """The job's end is success, and it is true."""
        job = self.site.ended(self.job_id)
        assert job["result"] == "SUCCEEDED", job["failure"]
        loop.settled(self.site)
        assert self.is_whole()
        assert self.template() == [("OK",)]
        assert not self.part.exists()
        assert self.begun() == 1
        loop.nothing_open(self.site, self.name)


@pytest.mark.long
def test_a_copy_outlives_its_agent_and_its_progress_is_seen_to_rise(site: Site, tmp_path: Path) -> None:
    copy = Copy(site, "gold")
    with copy.held():
        watched = Watched(site, copy.job_id, tmp_path / "watched")
        first = wait_for("the progress is seen", lambda: max(watched.percents(), default=None))
        site.kill_agent()
        assert copy.is_in_the_middle()
        site.start_agent()
    wait_for("more is written", lambda: copy.written() > SIZE // 2)
    with copy.held():
        assert copy.is_in_the_middle()
        wait_for("the progress is seen to rise", lambda: first < max(watched.percents()) < 100)
    copy.succeeded()
    assert watched.end() == 0
    percents = watched.percents()
    assert percents == sorted(percents), "progress never goes back"
    assert percents[-1] == 100


class Watched:
    """`interlock job watch` in a process of its own, its output going to a file."""

    def __init__(self, site: Site, job_id: str, output: Path) -> None:
        self.output = output
        self._code: int | None = None
        self._thread = threading.Thread(target=self._follow, args=(site, job_id))
        self._thread.start()

    def _follow(self, site: Site, job_id: str) -> None:
        with self.output.open("w") as file:
            self._code = site.follow("job", "watch", job_id, to=file)

    def percents(self) -> list[int]:
        """The progress of the copy as it was shown so far."""
        lines = self.output.read_text().splitlines() if self.output.exists() else []
        return [int(found[1]) for line in lines if (found := re.match(r"(\d+)% COPY_IMAGE\b", line))]

    def end(self) -> int | None:
        """The exit code."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._code


@pytest.mark.long
def test_a_copy_that_died_with_its_agent_is_rolled_back_and_said_to_have_failed(site: Site) -> None:
    before = set(site.images())
    copy = Copy(site, "broken")
    site.kill_agent()
    assert copy.is_in_the_middle()
    os.killpg(os.getpgid(copy.process.pid), signal.SIGKILL)  # the process and the shim that would note its end
    wait_for("qemu-img is gone", lambda: running(copy.folder) is None)
    assert copy.part.exists()
    site.start_agent()
    job = site.ended(copy.job_id)
    loop.settled(site)
    assert (job["result"], job["status"]) == ("FAILED", "FAILED")
    assert "the program was lost together with its job; start the task anew" in str(job["failure"])
    assert not copy.target.exists()
    assert not copy.part.exists()
    assert list(site.storage.glob("**/*.part")) == []
    assert set(site.images()) == before
    assert copy.begun() == 1
    assert copy.template() == []
    assert site.rows("SELECT * FROM entities WHERE name LIKE 'broken%'") == []
    assert site.rows("SELECT status FROM entities WHERE name = 'web1_disk1'") == [("OK",)]
    assert site.rows("SELECT * FROM leftovers") == []
    loop.nothing_open(site, copy.name)


@pytest.mark.long
def test_a_copy_outlives_coordinator_and_agent(site: Site) -> None:
    copy = Copy(site, "silver")
    site.kill_server()
    site.kill_agent()
    assert copy.is_in_the_middle()
    site.start_server("--poll", "0.1")  # which finds no agent at first
    site.start_agent()
    assert copy.is_in_the_middle()
    copy.succeeded()
