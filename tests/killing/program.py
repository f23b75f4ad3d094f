"""The program behind `make kill-matrix`: chooses groups of kills, runs them, prints what came of each and of all."""

import argparse
import atexit
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tests import databases
from tests.killing.groups import VARIANTS, groups
from tests.killing.matrix import Tally, Wanted


def main() -> None:
    """Exits with 1 where a kill has not led to a true end."""
    options = _options(sys.argv[1:])
    chosen = [title for title in groups(options.also) if re.search(options.match, title)]
    if options.list:
        print("\n".join(chosen))
        return
    wanted = Wanted(tuple(options.only), options.double, options.seed)
    passed = failed = unreached = 0
    with tempfile.TemporaryDirectory(prefix="interlock-kills-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        for number, (title, tally, seconds) in enumerate(_tallies(chosen, options, wanted, Path(folder)), 1):
            passed, failed = passed + tally.killed, failed + len(tally.problems)
            unreached += len(tally.unreached)
            print(f"[{number}/{len(chosen)}] {_line(title, tally, seconds)}", flush=True)
    if unreached:
        print(f"not reached: {unreached}, made in some runs only, and not in those that were to be killed there")
    print(f"kill matrix: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make kill-matrix ARGS=…", description=__doc__)
    parser.add_argument("--match", default="", help="only groups in whose title this pattern is found")
    parser.add_argument(
        "--only", action="append", default=[], help="only kills in whose order (name:n:side) it is found"
    )
    parser.add_argument("--list", action="store_true", help="print the titles of the groups, and run none")
    parser.add_argument("--also", action="append", default=[], choices=VARIANTS, help="the flows on these as well")
    parser.add_argument(
        "--double", type=int, default=0, metavar="N", help="N runs more of each kill: the next life too"
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses where the next life is killed")
    parser.add_argument("--workers", type=int, default=2, help="how many groups run at once")
    return parser.parse_args(words)


def _tallies(
    chosen: Sequence[str], options: argparse.Namespace, wanted: Wanted, folder: Path
) -> Iterator[tuple[str, Tally, float]]:
    """What came of each group, as they end."""
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        jobs = {
            pool.submit(_tally, title, tuple(options.also), wanted, folder / str(number)): title
            for number, title in enumerate(chosen)
        }
        for job in as_completed(jobs):
            tally, seconds = job.result()
            yield jobs[job], tally, seconds


def _begin() -> None:
    """A worker stops its PostgreSQL server as it ends, if it has one."""
    atexit.register(databases.stop)


def _tally(title: str, also: Sequence[str], wanted: Wanted, folder: Path) -> tuple[Tally, float]:
    began = time.monotonic()
    try:
        tally = groups(also)[title](folder, wanted)
    except Exception:
        tally = Tally(problems=[traceback.format_exc()])
    return tally, time.monotonic() - began


def _line(title: str, tally: Tally, seconds: float) -> str:
    words = [f"{title}: {tally.killed} killed and brought to a true end", f"{len(tally.problems)} failed"]
    words += [f"{len(tally.unreached)} not reached"] if tally.unreached else []
    lines = [f"{', '.join(words)}; {seconds:.0f} s", *(f"  not reached: {order}" for order in tally.unreached)]
    return "\n".join([*lines, *(f"  FAILED {problem}" for problem in tally.problems)])
