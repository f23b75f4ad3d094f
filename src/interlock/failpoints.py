"""Named places where a test kills this very process, before or after a commit or a host call.

Off unless the environment names a folder: INTERLOCK_FAILPOINTS=<folder>. Then every hit is recorded in its file
`log` as `name n`, and the hit that its file `kill` names as `name:n:before` or `name:n:after` sends SIGKILL to
the process. Hits are counted from 1, anew whenever `kill` is written anew.

All names are in `REGISTERED`; a test reads the sources and fails where a commit, a call to a host or an effect of the
agent is within none of them.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

#: every failpoint, by name, and the effect that it stands before; of calls to hosts, the verb's method follows
REGISTERED: Mapping[str, str] = MappingProxyType(
    {
        "commit": "the coordinator's writer commits a batch: all that it writes once it runs",
        "commit_goodbye": "a coordinator that ends in good order says so in its row of `engines`",
        "commit_register": "a coordinator that begins enters itself in `engines`",
        "commit_restore": "what has come from a backup is marked as that, before any coordinator begins on it",
        "commit_schema": "a coordinator that begins makes the tables, or brings them up to date",
        "host:": "a host is asked for something, or told to do it",
        "agent_end_child": "the agent ends a program that it or an agent before it has started",
        "agent_folder": "the agent makes a folder",
        "agent_journal": "the agent makes what it has decided durable, and so what it answers",
        "agent_qemu_img": "the agent runs qemu-img and waits for it",
        "agent_remove": "the agent removes a file, or an empty folder",
        "agent_rename": "the agent gives a file or a folder another name",
        "agent_spawn": "the agent starts a program that outlives it",
        "agent_write": "the agent writes into a file, or makes one",
    }
)
HOST_CALL = "host:"

_VARIABLE = "INTERLOCK_FAILPOINTS"
_lock = threading.Lock()
_hits: dict[str, int] = {}
_order = ""
#: when the file with the order was written
_ordered_at = 0
_handler: Callable[[str, str], None] | None = None


class NotRegistered(Exception):
    """A failpoint that no kill matrix would know of; name it in REGISTERED."""


@contextmanager
def handled_by(handler: Callable[[str, str], None]) -> Iterator[None]:
    """While it lasts, a simulator is told of every hit, by name and by "before" or "after", and may raise there."""
    global _handler
    _handler = handler
    try:
        yield
    finally:
        _handler = None


def before(name: str) -> int:
    """Called just before the effect called `name`; returns which hit of that name this is, from 1.

    Raises NotRegistered, also where failpoints are off.
    """
    if (HOST_CALL if name.startswith(HOST_CALL) else name) not in REGISTERED:
        raise NotRegistered(f"{name} is none of the registered failpoints; name it in interlock.failpoints.REGISTERED")
    if _handler is not None:
        _handler(name, "before")
        return 1
    folder = os.environ.get(_VARIABLE)
    if folder is None:
        return 0
    with _lock:
        _take_order(Path(folder))
        hit = _hits[name] = _hits.get(name, 0) + 1
        with open(Path(folder) / "log", "a") as log:
            log.write(f"{name} {hit}\n")
    _die_at(name, hit, "before")
    return hit


def after(name: str, hit: int) -> None:
    """Called just after the effect, with what `before` returned (0: failpoints are off)."""
    if hit and _handler is not None:
        _handler(name, "after")
    elif hit:
        _die_at(name, hit, "after")


@contextmanager
def around(name: str) -> Iterator[None]:
    """Wraps the effect called `name`; one that raises has no "after"."""
    hit = before(name)
    yield
    after(name, hit)


def _take_order(folder: Path) -> None:
    global _order, _ordered_at
    kill, order, at = folder / "kill", "", 0
    with suppress(FileNotFoundError):
        order, at = kill.read_text().strip(), kill.stat().st_mtime_ns
    if (order, at) != (_order, _ordered_at):
        _order, _ordered_at = order, at
        _hits.clear()


def _die_at(name: str, hit: int, side: str) -> None:
    if _order == f"{name}:{hit}:{side}":
        os.kill(os.getpid(), signal.SIGKILL)
