"""Makes a failure small: the fewest faults with which the same seed breaks the same promise, and its story."""

from __future__ import annotations

import re
from pathlib import Path

from interlock.sim.universe import Run, run

#: how many runs that may take
RUNS_MAX = 40
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def shrunken(failed: Run, scratch: Path) -> Run:
    """The run again, with as few faults as possible."""
    best, runs = failed, 0
    index = 0
    while index < len(best.faults) and runs < RUNS_MAX:
        runs += 1
        fewer = run(failed.seed, scratch, [fault for n, fault in enumerate(best.faults) if n != index])
        if fewer.problems and kind_of(fewer) == kind_of(failed):
            best = fewer
        else:
            index += 1
    return run(failed.seed, scratch, best.faults, is_told=True)


def kind_of(failed: Run) -> str:
    """What was broken, without the ids."""
    return _ID.sub("…", failed.problems[0])[:60]


def story(failed: Run) -> list[str]:
    """The lines of the trace about what the problem names, and all faults."""
    named = dict.fromkeys(_ID.findall(failed.problems[0]))
    return [line for line in failed.trace if " fault: " in line or any(id in line for id in named)]
