"""`python -m interlock.sim`: runs seeds, and says of each that failed what happened and how to see it again."""

import argparse
import os
import sys
import time

from interlock.sim.faults import Kind
from interlock.sim.running import Sum, all_of
from interlock.sim.seeds import prepared
from interlock.sim.shrinking import story
from interlock.sim.universe import Run, run

#: with so many seeds every fault must have happened at least once
SEEDS_FOR_ALL = 1_000
FAILURES_MAX, LINES_MAX = 5, 200


def main() -> int:
    """Prints `simulation: N passed, M failed` at last; 1 where one failed, or a fault never happened."""
    parser = argparse.ArgumentParser(prog="python -m interlock.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many (200)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="K", help="the first (0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="P", help="at once (all cores)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this one, and print all that happened")
    parser.add_argument("--faults", metavar="N,N", help="of a replay: only these of its faults, counted from 0")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return _replay(arguments.replay, arguments.faults)
    total, began_s = Sum(), time.perf_counter()
    for total in all_of(range(arguments.first, arguments.first + arguments.seeds), arguments.processes, FAILURES_MAX):
        if sys.stderr.isatty():
            print(f"\r{total.runs} of {arguments.seeds}, {len(total.failed)} failed", end="", file=sys.stderr)
    return _summed_up(total, time.perf_counter() - began_s)


def _replay(seed: int, chosen: str | None) -> int:
    with prepared() as scratch:
        planned = run(seed, scratch).faults
        if chosen is not None:
            planned = [planned[int(number)] for number in chosen.split(",") if number]
        ran = run(seed, scratch, planned, is_told=True)
    print("\n".join(ran.trace))
    print("\n".join(ran.problems) or "nothing is wrong")
    return 1 if ran.problems else 0


def _summed_up(total: Sum, took_s: float) -> int:
    for failed in total.failed:
        _tell(failed)
    fired = ", ".join(f"{kind.name} {total.fired[kind]}" for kind in Kind)
    checked = ", ".join(f"{number}: {total.checked[number]}" for number in sorted(total.checked))
    print(f"faults that happened: {fired}\ninvariants checked: {checked}")
    print(f"{', '.join(f'{many} {name}' for name, many in total.counts.items())}; {took_s:.0f} s")
    never = total.never_fired if total.runs >= SEEDS_FOR_ALL else []
    for kind in never:
        print(f"{kind.name} never happened: nothing is shown about it")
    print(f"simulation: {total.runs - len(total.failed)} passed, {len(total.failed)} failed")
    return 1 if total.failed or never else 0


def _tell(failed: Run) -> None:
    print(f"seed {failed.seed} failed: {failed.problems[0]}")
    for fault in failed.faults:
        print(f"  {fault}")
    print("\n".join(f"  {line}" for line in story(failed)[-LINES_MAX:]))
    numbers = ",".join(str(number) for number in failed.chosen)
    print(f'see it again: python -m interlock.sim --replay {failed.seed} --faults "{numbers}"\n')


if __name__ == "__main__":
    sys.exit(main())
