"""`python -m bench`: measures everything on a file of its own, prints tables, writes JSON where asked."""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path

from bench import agent_copy, agent_tasks, ceiling, disk, fsyncs, parts, peers, report, statements, throughput
from bench.report import Results
from interlock import logs

#: by how much a run of a peer is shorter: they are slower by an order of magnitude
PEER_SHARE = 30
#: of a copy by the agent and one by qemu-img
COPY_PAIRS = 9


def main() -> None:
    """Parses the arguments and runs. Under two minutes with the defaults on a machine that is not busy."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    parser.add_argument("--commands", type=int, default=3_000, metavar="N", help="commands per timed run (3000)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="timed runs (3)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="measure on the disk that holds DIR")
    arguments = parser.parse_args()
    if arguments.commands < 100 or arguments.runs < 1:
        parser.error("at least 100 commands and 1 run; fewer say nothing")
    logs.configure(json_lines=False, level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="interlock-bench-", dir=arguments.folder) as folder:
        results = asyncio.run(_measure(Path(folder), arguments.commands, arguments.runs))
    print(report.as_text(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.as_json(results), indent=2) + "\n", encoding="utf-8")


async def _measure(folder: Path, commands: int, runs: int) -> Results:
    """One after another: nothing else is to run meanwhile."""
    here = report.machine(disk.measure(folder))
    _say("commands per second")
    measured = await throughput.measure(folder, commands, runs)
    _say("the ceiling")
    measured += await ceiling.measure(folder, commands // 2, runs)
    _say("statements, fsyncs, parts")
    counts = await statements.measure(folder, commands // 3)
    synced = await asyncio.to_thread(fsyncs.measure, folder, commands // 6)
    went = await parts.measure(folder, commands // 2)
    _say("peers")
    for peer in peers.PEERS:
        measured.append(await asyncio.to_thread(peers.measure, peer, folder, commands // PEER_SHARE, runs))
    _say("the agent")
    tasks = await agent_tasks.measure(folder, runs)
    copies = await agent_copy.measure(folder, COPY_PAIRS)
    return Results(here, tuple(measured), counts, synced, went, tuple(tasks), copies)


def _say(what: str) -> None:
    print(f"measuring {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
