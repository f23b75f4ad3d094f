"""How a plan looks as text: a tree of commands and tasks."""

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.cli.output import plain, write

Json = Mapping[str, Any]  # an object of the API


def plan(found: Json) -> None:
    """The tree, a line for each command and task, and who is waited for."""
    for line in _command(found["command"], 0):
        write(plain(line))
    for reason in found["waits"]:
        write(plain(reason))


def _command(each: Json, depth: int) -> Iterator[str]:
    indent = "  " * depth
    facts = [each["begins"], *_place(each), *_options(each)]
    name = "" if each["name"] == "interlock.steps" else f"{each['name']}: "
    yield f"{indent}{name}{each['title']} [{'; '.join(facts)}]"
    if each["locks"]:
        yield f"{indent}  locks {', '.join(map(_lock, each['locks']))}"
    for part in each["parts"]:
        if part["kind"] == "task":
            yield f"{indent}  {_task(part)}"
        else:
            yield from _command(part, depth + 1)


def _place(each: Json) -> Iterator[str]:
    if each["result"]:
        yield f"{each['result']}: {each['failure']}" if each["failure"] else str(each["result"])
    if each["role"] != "forward":
        yield {"undo": "undoes", "end": "after the failure"}[each["role"]]
    if each["step"]:
        yield f"step {each['step']}"
    if each["after"]:
        yield f"after {', '.join(each['after'])}"


def _options(each: Json) -> Iterator[str]:
    if each["choice"] is not None:
        yield f"alternative of choice {each['choice']}"
    if each["pool"] is not None:
        bound = f", at most {each['at_most']} at a time" if each["at_most"] else ""
        yield f"group {each['pool']}{bound}{', stops on failure' if each['stop_on_failure'] else ''}"
    if each["retry"]:
        yield f"up to {each['retry']['attempts']} attempts"
    if each["timeout_s"]:
        yield f"stopped after {each['timeout_s']:g} s"
    if each["no_return"]:
        yield "no return"
    if each["best_effort"]:
        yield "best effort"


def _lock(lock: Json) -> str:
    return f"{_named(lock['ref'], lock['name'])} ({lock['mode']}{'' if lock['free'] else ', held by another'})"


def _task(part: Json) -> str:
    host = "in this process" if part["host"] is None else f"on {_named(part['host'], part['host_name'])}"
    facts = [f"step {part['step']}"] if part["step"] else []
    facts += [f"stopped after {part['timeout_s']:g} s"] if part["timeout_s"] else []
    facts += ["best effort"] if part["best_effort"] else []
    return f"task {part['method']} {host}" + (f" [{'; '.join(facts)}]" if facts else "")


def _named(ref: str, name: str | None) -> str:
    kind, _, id = ref.partition(":")
    return f"{kind} {name or id}"
