"""How the tasks of a host look as text."""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from interlock.cli.output import clock, duration, plain, print_fields, print_table, write

Json = Mapping[str, Any]  # an object of the agent


def tasks(found: Sequence[Json]) -> None:
    """One line a task."""
    rows = [
        (each["id"], each["verb"], each["state"], each["result"], _percent(each), _age(each), each["flow"])
        for each in found
    ]
    print_table(rows, ("TASK", "VERB", "STATE", "RESULT", "DONE", "AGE", "FLOW"))


def damage(found: Json) -> str:
    """One line about what was lost of the agent's journal."""
    kept = f"{found['kept_as']} in the state folder has what is left" if found["kept_as"] else "nothing of it is left"
    return (
        f"interlock: the agent's journal was damaged ({kept}): of {found['failed_count']} tasks it does not tell how "
        "they ended; their messages say what to look at"
    )


def task(found: Json) -> None:
    """All of one task."""
    print_fields(
        {
            "task": found["id"],
            "verb": found["verb"],
            "state": f"{found['state']} ({found['inner_state']})",
            "result": found["result"],
            "code": found["code"],
            "message": found["message"],
            "progress": _percent(found),
            "steps done": found["steps_done"],
            "to undo": ", then ".join(found["to_undo"]),
            "stopping": found["is_stopping"],
            "undoing given up": found["is_giving_up"],
            "host job": found["is_host_job"],
            "created": clock(found["created_at"]),
            "age": _age(found),
            "flow": found["flow"],
            "term": found["term"],
            "correlation id": found["correlation_id"],
            "parameters": json.dumps(found["params"], ensure_ascii=False),
        }
    )
    if found["children"]:
        write("\nprocesses:")
        rows = [(each["name"], each["pid"], each["is_running"], _command(each)) for each in found["children"]]
        print_table(rows, ("NAME", "PID", "RUNS", "COMMAND"))


def progress(found: Json) -> str:
    """One line about a task that is waited for."""
    return f"task {found['id']} {found['state']} {_percent(found)}".rstrip()


def end(found: Json) -> str:
    """One line about a task that is over."""
    return f"task {found['id']} ended: {found['result']}: {plain(found['message'])}"


def _percent(found: Json) -> str:
    return "" if found["progress"] is None else f"{found['progress']}%"


def _age(found: Json) -> str:
    return duration(found["created_at"], datetime.now(UTC).isoformat())


def _command(child: Json) -> str:
    return shlex.join(child["command"])
