"""Many tasks at once from fifty connections, with stops, clears, reconnects and a kill by chance.

INTERLOCK_LOAD_TASKS says how many, INTERLOCK_LOAD_S for how long, INTERLOCK_LOAD_SEED with which chances: `make load`
has more tasks than an agent takes, for a minute.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from interlock.agent.journal.files import RealFiles
from interlock.agent.journal.format import read
from interlock.agent.journal.ledger import Ledger
from interlock.agent.tasks.intake import Bounds
from tests.agent.load_caller import Caller, Site
from tests.agent.load_model import Wish
from tests.agent.processes import AgentProcess, agent_process, connected

#: For how long there is something by chance; what is unfinished then takes some seconds more.
LOAD_S = float(os.environ.get("INTERLOCK_LOAD_S", "5"))
CALLERS = 50
#: What is beyond the thousand that an agent takes in all is refused, and tried again.
UNFINISHED_MAX = int(os.environ.get("INTERLOCK_LOAD_TASKS", "250"))
RSS_BYTES_MAX = 256 << 20
#: Between the first and the last third of the life of an agent that had all its tasks from its start.
GROWTH_BYTES_MAX = 24 << 20
#: What is stopped at the end; the rest is carried out.
SHARE_STOPPED = 0.9
_SAMPLE_S = 0.1


def _rss_bytes(agent: AgentProcess) -> int:
    assert agent.process is not None
    return int(Path(f"/proc/{agent.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
async def test_many_tasks_at_once_are_neither_lost_nor_done_twice(tmp_path: Path) -> None:
    seed = int(os.environ.get("INTERLOCK_LOAD_SEED", time.time_ns() % 1_000_000))
    print(f"\nINTERLOCK_LOAD_SEED={seed}")
    async with agent_process(tmp_path, "--workers", "2") as agent:  # so that tasks come faster than they end
        port = await agent.start()
        async with connected(port) as caller:
            domains = [await caller.domain(agent.root) for _ in range(5)]
            source = (domains[0], *await caller.volume(domains[0], 64 << 10))
        site = Site(agent.root, domains, source, port)
        callers = [Caller(site, Random(f"{seed}/{n}"), UNFINISHED_MAX // CALLERS) for n in range(CALLERS)]
        began = time.monotonic()
        samples = await _loaded(agent, site, callers, began)
        await asyncio.gather(*(caller.settle(SHARE_STOPPED) for caller in callers))
        await asyncio.gather(*(caller.close() for caller in callers))
        took_s = time.monotonic() - began
        wishes = [wish for caller in callers for wish in caller.wishes]
        _tell(site, wishes, samples, took_s)
        assert (site.counts["full"] > 0) is (Bounds().unfinished_max < UNFINISHED_MAX)
        _memory_was_bounded(samples)
        await _told_after_a_restart(agent, wishes)
        _as_the_journal_says(agent, wishes)
        _as_the_files_are(agent, callers, source)


async def _loaded(agent: AgentProcess, site: Site, callers: list[Caller], began: float) -> list[int]:
    """Lets the callers loose, kills the agent after a quarter of the time; the memory of the one that follows."""
    end = began + LOAD_S
    acting = [asyncio.ensure_future(caller.act(lambda: time.monotonic() > end)) for caller in callers]
    try:
        await _sampled(agent, acting, began + LOAD_S / 4)
        agent.end(signal.SIGKILL)
        for wish in (wish for caller in callers for wish in caller.wishes if wish.is_open):
            wish.saw_a_kill = True
        site.port = await agent.start()
        samples = await _sampled(agent, acting, end)
        await asyncio.gather(*acting)
    finally:
        for each in acting:
            each.cancel()
    return samples


async def _sampled(agent: AgentProcess, acting: Sequence[asyncio.Future[None]], end: float) -> list[int]:
    samples = []
    while time.monotonic() < end:
        samples.append(_rss_bytes(agent))
        done, _ = await asyncio.wait(acting, timeout=_SAMPLE_S, return_when=asyncio.FIRST_EXCEPTION)
        for each in done:
            each.result()
    return samples


def _tell(site: Site, wishes: list[Wish], samples: list[int], took_s: float) -> None:
    ends = [wish.final["taskResult"] for wish in wishes if wish.final is not None]
    print(f"{len(wishes)} tasks in {took_s:.0f} s: {ends.count('success')} succeeded, {len(ends)} ended; {site.counts}")
    print(f"memory {min(samples) >> 20} to {max(samples) >> 20} MiB")


def _memory_was_bounded(samples: list[int]) -> None:
    third = len(samples) // 3
    first, last = statistics.mean(samples[:third]), statistics.mean(samples[-third:])
    assert max(samples) < RSS_BYTES_MAX
    assert last - first < GROWTH_BYTES_MAX, f"from {first:.0f} to {last:.0f} bytes"


async def _told_after_a_restart(agent: AgentProcess, wishes: list[Wish]) -> None:
    """The tasks are exactly those that were not cleared, as they ended."""
    expected = {wish.id: wish.final for wish in wishes if not wish.is_cleared}
    for _ in range(2):
        async with connected(await agent.start() if agent.process is None else _port(agent)) as caller:
            told = await caller.call("Host.getAllTasksStatuses")
        unclear = {wish.id for wish in wishes if wish.is_clear_sent and not wish.is_cleared}
        kept = {known for known in expected if known in told or known not in unclear}
        assert kept - told.keys() == set()
        assert [(told[known], expected[known]) for known in kept if told[known] != expected[known]][:3] == []
        assert len(told.keys() - expected.keys()) <= 1  # the source's
        agent.end(signal.SIGTERM)


def _port(agent: AgentProcess) -> int:
    return int((agent.state / "port").read_text())


def _as_the_journal_says(agent: AgentProcess, wishes: list[Wish]) -> None:
    """What the journal's entries add up to: every task is done, and every cleared id is remembered."""
    files, ledger = RealFiles(), Ledger()
    for record in read(files.read(agent.state / "journal") or b"", b"").records[1:]:
        ledger.apply(record.entry)
    assert all(task.state.is_done for task in ledger.tasks.values())
    cleared = {wish.id for wish in wishes if wish.is_cleared}
    assert cleared <= ledger.closed.keys()
    assert not cleared & ledger.tasks.keys()


def _as_the_files_are(agent: AgentProcess, callers: list[Caller], source: tuple[str, str, str]) -> None:
    """Each image whose making succeeded, and whose removal did not, is there, made once; nothing else is."""
    images = [image for caller in callers for image in caller.images]
    there = [image.made_by for image in images if image.is_there]
    wanted = [wish.image for wish in there] + [agent.root / source[0] / "images" / source[1] / source[2]]
    folders = {path for path in agent.root.glob("*/images/*")}
    assert folders == {path.parent for path in wanted}
    assert set(agent.root.glob("*/images/*/*")) == {each for path in wanted for each in _both(path)}
    assert [wish.id for wish in there if wish.inode not in (None, wish.image.stat().st_ino)] == []
    assert not list((agent.state / "jobs").glob("*"))


def _both(path: Path) -> Iterator[Path]:
    yield path
    yield path.with_name(f"{path.name}.meta")
