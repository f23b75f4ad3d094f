"""Named places where a test kills this very process, before or after a commit or a host call.

Off unless the environment asks: INTERLOCK_FAILPOINT_LOG=<file> records every hit as `name n`;
INTERLOCK_FAILPOINT_KILL=<name>:<n>:<before|after> sends SIGKILL to the process at that hit.
"""

import os
import signal
import threading

_log = os.environ.get("INTERLOCK_FAILPOINT_LOG")
_kill = os.environ.get("INTERLOCK_FAILPOINT_KILL")
_hits: dict[str, int] = {}
_lock = threading.Lock()


def before(name: str) -> int:
    """Called just before the effect called `name`; returns which hit of that name this is, from 1."""
    if _log is None and _kill is None:
        return 0
    with _lock:
        hit = _hits[name] = _hits.get(name, 0) + 1
    if _log is not None:
        with open(_log, "a") as log:
            log.write(f"{name} {hit}\n")
    _die_at(name, hit, "before")
    return hit


def after(name: str, hit: int) -> None:
    """Called just after the effect, with what `before` returned."""
    if _kill is not None:
        _die_at(name, hit, "after")


def _die_at(name: str, hit: int, side: str) -> None:
    if _kill == f"{name}:{hit}:{side}":
        os.kill(os.getpid(), signal.SIGKILL)
