"""How jobs look as text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from interlock.cli import action_commands
from interlock.cli.output import clock, duration, plain, print_fields, print_table, write

Json = Mapping[str, Any]  # an object of the API


def jobs(found: Sequence[Json]) -> None:
    """One line a job."""
    rows = [
        (
            each["id"],
            _how(each),
            each["action"],
            each["title"],
            f"{each['progress']}%",
            clock(each["started_at"]),
            duration(each["started_at"], each["ended_at"]),
        )
        for each in found
    ]
    print_table(rows, ("JOB", "STATUS", "ACTION", "TITLE", "DONE", "STARTED (UTC)", "TOOK"))


def job(found: Json) -> None:
    """All of one job."""
    print_fields(
        {
            "job": found["id"],
            "title": found["title"],
            "command": found["action"],
            "status": _how(found),
            "attention": found["attention"],
            "paused by": found["paused_by"],
            "stopping": found["commands"][0]["stopping"] if found["ended_at"] is None else None,
            "progress": f"{found['progress']}%",
            "user": found["user"],
            "priority": found["priority"] or None,
            "restart of": found["restart_of"],
            "correlation id": found["correlation_id"],
            "entities": ", ".join(found["refs"]),
            "after": ", ".join(map(_former, found["after"])),
            "parameters": _json(found["parameters"]),
            "started": clock(found["started_at"]),
            "deadline": clock(found["commands"][0]["deadline_at"]),
            "ended": clock(found["ended_at"]),
            "took": duration(found["started_at"], found["ended_at"]),
            "result": _json(found["value"]),
        }
    )
    _section("steps", _steps(found["steps"]), ("STATUS", "DONE", "TOOK", "STEP", "ID"))
    _section(
        "tasks",
        _tasks(found["tasks"]),
        ("TASK", "METHOD", "HOST", "STATE", "STATUS", "RESULT", "CODE", "MESSAGE"),
    )
    if found["failure"] is not None:
        write("")
        failure(found)
    if found["leftovers"]:
        write("\nleftovers:")
        leftovers(found["leftovers"])
    _section("done by people", action_commands.rows(found["actions"]), action_commands.HEADINGS)
    events = [(each["seq"], clock(each["at"]), each["severity"], each["message"]) for each in found["events"]]
    _section("events", events, ("N", "AT (UTC)", "SEVERITY", "MESSAGE"))


def end(found: Json) -> None:
    """How a watched job ended, and what a person must know of it."""
    took = duration(found["started_at"], found["ended_at"])
    write(f"job {found['id']} {_how(found)}" + (f" after {took}" if took else ""))
    if found["value"] is not None:
        write(f"result: {_json(found['value'])}")
    failure(found)
    for each in found["leftovers"]:
        if each["cleared_at"] is None:
            write(f"leftover {each['id']}: {plain(each['reason'])}; {plain(each['remedy'])}")


def failure(found: Json) -> None:
    """Why it failed, with every cause."""
    if found["failure"] is None:
        return
    write(f"failure: {plain(found['failure']['message'])}")
    for cause in found["failure"]["causes"]:
        place = " / ".join(cause["path"])
        facts = [f"{key} {cause[key]}" for key in ("host", "code") if cause[key] is not None]
        facts += [f"remedy: {cause['remedy']}"] if cause["remedy"] else []
        facts += cause["refs"]
        about = f" ({', '.join(facts)})" if facts else ""
        write(plain(f"  - {place + ': ' if place else ''}{cause['message']}{about}"))


def leftovers(found: Sequence[Json]) -> None:
    """What flows could not clean."""
    rows = [
        (
            each["id"],
            "cleared" if each["cleared_at"] else "open",
            each["job_id"],
            each["host"],
            ", ".join(each["refs"]),
            each["reason"],
            each["remedy"],
        )
        for each in found
    ]
    print_table(rows, ("LEFTOVER", "STATE", "JOB", "HOST", "ENTITIES", "REASON", "REMEDY"))


def _how(job: Json) -> str:
    """The result once there is one, otherwise the status; with what remained."""
    word = job["result"] if job["result"] and job["status"] != "UNKNOWN" else job["status"]
    word += " with leftovers" if job["has_leftovers"] else " with warnings" if job["has_warnings"] else ""
    if job["paused_by"] and job["ended_at"] is None:
        word = f"{word} (paused)"
    return f"{word} (attention)" if job["attention"] else word


def step_name(step: Json) -> str:
    """A step's name, and its title where that says more."""
    name, title = plain(step["name"]), plain(step["title"])
    return name if title.casefold() == name.casefold() else f"{name} {title}"


def _steps(steps: Sequence[Json], depth: int = 0) -> Iterator[Sequence[Any]]:
    for step in steps:
        name = "  " * depth + step_name(step)
        took = duration(step["started_at"], step["ended_at"])
        yield step["status"], f"{step['progress']}%", took, name, step["id"]
        yield from _steps(step["steps"], depth + 1)


def _tasks(tasks: Sequence[Json]) -> Iterator[Sequence[Any]]:
    for task in tasks:
        yield (
            task["id"],
            task["method"],
            task["host"],
            _state(task),
            task["status"],
            task["result"] or task["outcome"],
            task["code"],
            task["message"] or (task["waits_for"] or {}).get("question"),
        )


def _state(task: Json) -> str:
    """Its state, and what a person should know of one that has not ended."""
    if task["outcome"] is None and task["stopping"] is not None:
        return f"{task['state']} (to stop)"
    return f"{task['state']} (no progress)" if task["stalled_at"] is not None else str(task["state"])


def _former(former: Json) -> str:
    """A job that this one comes after, and how it must end, or ended."""
    return f"{former['job_id']} ({former['result'] or 'must have ' + former['policy']})"


def _section(title: str, rows: Any, headings: Sequence[str]) -> None:
    listed = list(rows)
    if listed:
        write(f"\n{title}:")
        print_table(listed, headings)


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
