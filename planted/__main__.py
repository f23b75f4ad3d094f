"""`python -m planted`: plants one bug after the other, and says which seeds have noticed each."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from planted.bugs import BUGS
from planted.trial import ROOT, Trial, tried

#: as many seeds as are part of `make test`
SEEDS = 2_000


def main() -> int:
    """Prints a line for each bug, then `planted: N passed, M failed`: passed is caught. 1 where one was not."""
    parser = argparse.ArgumentParser(prog="python -m planted", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these bugs")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"how many at most ({SEEDS})")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="K", help="the first seed (0)")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="how many bugs at once (2)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the table of the docs to FILE")
    arguments = parser.parse_args()
    bugs = [bug for bug in BUGS if not arguments.names or bug.name in arguments.names]
    if unknown := set(arguments.names) - {bug.name for bug in bugs}:
        parser.error(f"there is no bug {', '.join(sorted(unknown))}; planted/bugs.py names them")
    for bug in bugs:
        bug.planted_in((ROOT / "src" / "interlock" / bug.file).read_text("utf-8"))  # before any of them is tried
    trials: list[Trial] = []
    with ThreadPoolExecutor(arguments.at_once) as pool:  # each waits for a process of its own
        running = [pool.submit(tried, bug, arguments.seeds, arguments.first) for bug in bugs]
        for over in as_completed(running):
            trial = over.result()
            trials.append(trial)
            verdict = "caught" if trial.is_caught else "NOT CAUGHT"
            words = trial.words.splitlines()[0]
            by = f" by {trial.caught_by}{'' if trial.is_expected else ' (unexpected)'}" if trial.is_caught else ""
            print(f"{trial.bug.name}: {verdict}{by} after {trial.seeds} seeds: {words}", flush=True)
    trials.sort(key=lambda trial: bugs.index(trial.bug))
    if arguments.table is not None:
        arguments.table.write_text("\n".join(_table(trials)) + "\n", encoding="utf-8")
    failed = sum(not trial.is_caught for trial in trials)
    print(f"planted: {len(trials) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _table(trials: list[Trial]) -> list[str]:
    rows = [f"| {each.bug.name} | {each.bug.words} | {each.caught_by} | {each.seeds} |" for each in trials]
    return ["| bug | what goes wrong | caught by | seeds |", "|---|---|---|---|", *rows]


if __name__ == "__main__":
    sys.exit(main())
