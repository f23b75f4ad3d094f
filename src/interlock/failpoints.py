"""Named places where a test kills this very process, before or after a commit or a host call.

Off unless the environment names a folder: INTERLOCK_FAILPOINTS=<folder>. Then every hit is recorded in its file
`log` as `name n`, and the hit that its file `kill` names as `name:n:before` or `name:n:after` sends SIGKILL to
the process. Hits are counted from 1, anew whenever the content of `kill` changes.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "INTERLOCK_FAILPOINTS"
_lock = threading.Lock()
_hits: dict[str, int] = {}
_order = ""


def before(name: str) -> int:
    """Called just before the effect called `name`; returns which hit of that name this is, from 1."""
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
    if hit:
        _die_at(name, hit, "after")


@contextmanager
def around(name: str) -> Iterator[None]:
    """Wraps the effect called `name`; one that raises has no "after"."""
    hit = before(name)
    yield
    after(name, hit)


def _take_order(folder: Path) -> None:
    global _order
    kill = folder / "kill"
    order = kill.read_text().strip() if kill.exists() else ""
    if order != _order:
        _order = order
        _hits.clear()


def _die_at(name: str, hit: int, side: str) -> None:
    if _order == f"{name}:{hit}:{side}":
        os.kill(os.getpid(), signal.SIGKILL)
