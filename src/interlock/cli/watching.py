"""Following a job until it is over: live steps on a terminal, one line per change when piped."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from interlock.cli.client import Cut, NoServer
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import COLOURS, complain, console, plain, write
from interlock.cli.show import step_name

if TYPE_CHECKING:
    from rich.tree import Tree

#: how long one question for news waits; progress without an event is seen this late at most
NEWS_S_MAX = 1.0
#: the longer a job takes to read, the less often it is read: a rest of so many times as long
REST_SHARE, REST_S_MAX = 2.0, 5.0
#: how long a server may be away before watching gives up
AWAY_S_MAX = 60.0
#: how soon the next attempt follows while it is away
RETRY_S = 0.5

Job = Mapping[str, Any]


class Asking(Protocol):
    """What watching needs of the client."""

    socket: str

    def get(self, path: str, *, wait_s: float = 0.0, **query: Any) -> Any: ...


class Screen(Protocol):
    """Where a watched job is shown."""

    def show(self, job: Job) -> None: ...

    def close(self) -> None: ...


def watch(
    client: Asking,
    job_id: str,
    screen: Screen,
    *,
    timeout_s: float | None = None,
    monotonic_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Job:
    """Shows the job until it has ended, and returns it.

    Raises Stop with TIMEOUT when `timeout_s` is over (the job goes on), and with UNKNOWN when the server
    stays away for longer than AWAY_S_MAX.
    """
    started = monotonic_s()
    away_since: float | None = None
    while True:
        left_s = None if timeout_s is None else started + timeout_s - monotonic_s()
        try:
            if left_s is not None and left_s <= 0:
                raise Stop(Exit.TIMEOUT, f"job {job_id} is not over after {timeout_s:g} s; it goes on")
            asked = monotonic_s()
            job: Job = client.get(f"/jobs/{job_id}", brief=True)
            took_s = monotonic_s() - asked
            away_since = None
            screen.show(job)
            if job["ended_at"] is not None:
                return job
            sleep(min(REST_S_MAX, REST_SHARE * took_s))
            wait_s = NEWS_S_MAX if left_s is None else min(NEWS_S_MAX, left_s)
            client.get(f"/jobs/{job_id}/events", after=job["events_total"], limit=1, wait_s=wait_s)
        except (NoServer, Cut) as error:
            away_since = _away(away_since, monotonic_s(), error)
            sleep(RETRY_S if left_s is None else max(0.0, min(RETRY_S, left_s)))


def _away(since: float | None, now: float, error: Stop) -> float:
    """Since when the server has been away; says so once, raises Stop when it is too long."""
    if since is None:
        complain(f"{error.reasons[0]} (trying again for {AWAY_S_MAX:g} s)")
        return now
    if now - since > AWAY_S_MAX:
        raise Stop(Exit.UNKNOWN, *error.reasons) from None
    return since


def how_to_come_back(client: Asking, job_id: str) -> str:
    """The line printed when a watcher leaves before the job's end."""
    return f"job {job_id} goes on; come back with `interlock --socket {client.socket} job watch {job_id}`"


def screen(*, quiet: bool) -> Screen:
    """A live tree on a terminal, lines otherwise; `quiet` writes the lines to standard error."""
    return Live() if sys.stdout.isatty() and not quiet else Lines(complain if quiet else write)


class Lines:
    """A line per change of a step: `42% COPY_IMAGE Copy disk web1_disk1`."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._shown: dict[str, str] = {}

    def show(self, job: Job) -> None:
        for step in flat(job["steps"]):
            line = _line(step)
            if step["status"] != "PENDING" and self._shown.get(step["id"]) != line:
                self._shown[step["id"]] = line
                self._emit(line)
        line = f"{job['progress']}% job {plain(job['title'])}" + _ended(job["status"])
        if self._shown.get(job["id"]) != line:
            self._shown[job["id"]] = line
            self._emit(line)

    def close(self) -> None:
        """Nothing is kept open."""


class Live:
    """The tree of steps, redrawn in place."""

    def __init__(self) -> None:
        from rich.live import Live as RichLive

        self._live = RichLive(console=console(), auto_refresh=False, transient=False)
        self._live.start()

    def show(self, job: Job) -> None:
        self._live.update(tree(job), refresh=True)

    def close(self) -> None:
        self._live.stop()


def tree(job: Job) -> "Tree":
    """A job's steps as a tree for a terminal."""
    from rich.text import Text
    from rich.tree import Tree

    def label(line: str, status: str) -> Text:
        return Text(line, style=COLOURS.get(status, ""))

    def grow(branch: Tree, steps: list[Any]) -> None:
        for step in steps:
            grow(branch.add(label(_line(step, always=True), step["status"])), step["steps"])

    root = Tree(label(f"{job['progress']}% {plain(job['title'])} {job['status']}", job["status"]))
    grow(root, job["steps"])
    return root


def flat(steps: list[Any]) -> Iterator[Mapping[str, Any]]:
    """The steps of a tree, parents first."""
    for step in steps:
        yield step
        yield from flat(step["steps"])


def _line(step: Mapping[str, Any], *, always: bool = False) -> str:
    status = f" {step['status']}" if always else _ended(step["status"])
    return f"{step['progress']}% {step_name(step)}{status}"


def _ended(status: str) -> str:
    """The status where it is news beside the progress."""
    return "" if status in ("PENDING", "STARTED") else f" {status}"
