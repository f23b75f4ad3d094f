"""`python -m planted.hunt SEEDS FROM`: runs seeds until one fails, and prints what it found as a line of JSON.

It runs in a process of its own, over whatever copy of the code PYTHONPATH names.
"""

import json
import resource
import sys

from interlock.sim.seeds import prepared
from interlock.sim.universe import run

#: how much of the processor's time a hunt may take for each seed, and beyond that
SEED_S, START_S = 5, 60


def hunt(seeds: int, first: int) -> dict[str, object]:
    """How many seeds it took, and the first problem of the last, None where all passed."""
    with prepared() as scratch:
        for seed in range(first, first + seeds):
            if problems := run(seed, scratch).problems:
                return {"seeds": seed - first + 1, "seed": seed, "problem": problems[0]}
    return {"seeds": seeds, "seed": None, "problem": None}


if __name__ == "__main__":
    seeds, first = int(sys.argv[1]), int(sys.argv[2])
    most_s = START_S + SEED_S * seeds  # of its own time, lest a busy machine counted as a bug that hangs
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
    print(json.dumps(hunt(seeds, first)))
