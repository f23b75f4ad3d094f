"""Prints what was measured: tables for people, JSON for comparing."""

import platform
import sqlite3
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import cpu_count, getloadavg
from typing import Any

from bench.agent_copy import Copies
from bench.fsyncs import Fsyncs
from bench.parts import Parts
from bench.runs import Measured, Spread
from bench.statements import Counts

WIDTH = 118


@dataclass(frozen=True)
class Machine:
    """On what, and when: a figure without it says nothing."""

    at: str
    processor: str
    cores: int
    #: of the last minute, before the measuring began; above 0.5 somebody else was at work
    load: float
    python: str
    sqlite: str
    fdatasync_ms: float


@dataclass(frozen=True)
class Results:
    """All that one call of the bench measured."""

    machine: Machine
    measured: tuple[Measured, ...]
    counts: Counts
    fsyncs: Fsyncs | None
    parts: Parts
    #: The agent's tasks that do nothing, per minute, one figure for each run.
    agent_tasks_per_min: tuple[float, ...]
    agent_copies: Copies


def machine(fdatasync_ms: float) -> Machine:
    """The machine as it is now."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Machine(
        at, _processor(), cpu_count() or 1, round(getloadavg()[0], 2), python, sqlite3.sqlite_version, fdatasync_ms
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def as_json(results: Results) -> dict[str, Any]:
    """Everything, each run with its figures."""
    found = asdict(results)
    for kept, measured in zip(found["measured"], results.measured, strict=True):
        for run, of in zip(kept["runs"], measured.runs, strict=True):
            run |= {"per_s": of.per_s, "cpu_ms": of.cpu_ms}
    return found


def as_text(results: Results) -> str:
    """The tables."""
    here = results.machine
    head = (
        f"{here.at}  {here.processor}, {here.cores} cores, load {here.load}\n{here.python}, SQLite {here.sqlite}, "
        f"WAL, synchronous=FULL, fdatasync of a page {here.fdatasync_ms:.2f} ms"
    )
    return "\n\n".join(
        (head, _rates(results.measured), _costs(results.counts, results.fsyncs), _parts(results.parts), _agent(results))
    )


def _rates(measured: Sequence[Measured]) -> str:
    rows = [("", "commands/s: min", "median", "max", "CPU ms/command", "runs")]
    for each in measured:
        if each.runs:
            rate, cpu = each.spread(lambda run: run.per_s), each.spread(lambda run: run.cpu_ms)
            rows.append((each.name, *_numbers(rate), f"{cpu.median:.2f}", _runs(each)))
    notes = [_note(f"{each.name}: {each.promises}") for each in measured]
    skipped = [_note(f"{each.name}: skipped: {each.skipped}") for each in measured if each.skipped]
    return "\n".join(["HOW FAST", table(rows), *skipped, "", "what each promises:", *notes])


def _numbers(spread: Spread) -> tuple[str, str, str]:
    return f"{spread.least:,.0f}", f"{spread.median:,.0f}", f"{spread.most:,.0f}"


def _runs(measured: Measured) -> str:
    return f"{len(measured.runs)} x {min(run.commands for run in measured.runs):,}"


def _costs(counts: Counts, fsyncs: Fsyncs | None) -> str:
    rows = [
        ("", "per command"),
        ("SQL statements, one for many rows counted once", f"{counts.statements:.3f}"),
        ("    that write", f"{counts.writes:.3f}"),
        ("    that read", f"{counts.reads:.3f}"),
        ("    BEGIN, SAVEPOINT, RELEASE, COMMIT", f"{counts.transaction_statements:.3f}"),
        ("rows written", f"{counts.rows_written:.2f}"),
        *((f"    {name}", f"{rows:.2f}") for name, rows in counts.rows_by_table.items()),
        ("commits", f"{counts.commits:.3f}"),
    ]
    if fsyncs is None:
        last = "fsyncs: not counted: strace is not installed, or may not trace"
    else:
        last = (
            f"fsyncs per commit: {fsyncs.fsyncs / fsyncs.commits:.2f} "
            f"({fsyncs.fsyncs} in {fsyncs.commits} commits of {fsyncs.commands} commands, under strace)"
        )
    return f"WHAT A COMMAND WITH 4 TASKS COSTS THE DATABASE ({counts.commands:,} commands)\n{table(rows)}\n{last}"


def _parts(parts: Parts) -> str:
    rows = [("", "CPU ms/command", "share of CPU", "passed ms/command")]
    for part in parts.parts:
        passed = "" if part.passed_ms is None else f"{part.passed_ms:.3f}"
        rows.append((part.name, f"{part.cpu_ms:.3f}", f"{part.share:.1%}", passed))
    counted = sum(part.cpu_ms for part in parts.parts)
    rows.append(("all", f"{counted:.3f}", f"{counted / parts.cpu_ms:.1%}", ""))
    title = f"WHERE THE TIME GOES ({parts.commands:,} commands, {parts.per_s:,.0f}/s while being watched)"
    return f"{title}\n{table(rows)}\npassed: includes waiting for the disk and for Python's interpreter lock"


def _agent(results: Results) -> str:
    rates, copies = sorted(results.agent_tasks_per_min), results.agent_copies
    rows = [
        ("", "min", "median", "max"),
        ("tasks that do nothing, per minute", *(f"{each:,.0f}" for each in _three(rates))),
        ("Volume.copy of 1 GiB, s", *(f"{each:.2f}" for each in _three(copies.agent_s))),
        ("the same qemu-img convert and an fsync, s", *(f"{each:.2f}" for each in _three(copies.plain_s))),
    ]
    ratio = f"a copy by the agent takes {copies.ratio:.3f} times as long (median of {len(copies.agent_s)} pairs)"
    return f"THE AGENT (journal with fsync before every answer)\n{table(rows)}\n{ratio}"


def _three(figures: Sequence[float]) -> tuple[float, float, float]:
    return min(figures), statistics.median(figures), max(figures)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def _note(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
