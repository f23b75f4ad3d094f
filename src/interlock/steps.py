"""Groups of parts that end as one: a command without a class of its own, stored as the plan that it is."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from interlock.command import Command, Reader, Tx
from interlock.model.layout import GROUP
from interlock.model.plan import Detached, Group, Order, Part, Plan, Retry, TaskWork
from interlock.model.refs import Ref
from interlock.model.waits import wait_of
from interlock.secrets import Keyring, dump_sealed, load_sealed

#: how many parts a title names
_NAMED_MAX = 3

#: name, version and parameters of a command, as they are stored
Stored = tuple[str, int, str]


class Steps(Command[None], name=GROUP, resumable=True, skippable=True):
    """What a plan makes of a group that has an end of its own. Nobody submits it."""

    plan: Plan

    def title(self, db: Reader) -> str:
        parts = self.plan.parts if isinstance(self.plan, Group) else (self.plan,)
        titles = [_title(each, db) for each in parts[:_NAMED_MAX]]
        more = len(parts) - _NAMED_MAX
        return ", ".join(titles) + (f" and {more} more" if more > 0 else "")

    def execute(self, db: Tx) -> Plan:
        return self.plan


def _title(piece: Plan, db: Reader) -> str:
    work = piece.work if isinstance(piece, Part) else piece
    if isinstance(work, Detached):
        work = work.command
    if isinstance(work, Command):
        return work.title(db)
    return work.method if isinstance(work, TaskWork) else Steps(plan=work).title(db)


def dump(steps: Steps, write: Callable[[Command[Any]], Stored], keyring: Keyring) -> str:
    """The plan as JSON text, secrets sealed."""

    def work(each: Any) -> dict[str, Any]:
        if isinstance(each, Group):
            return {"group": group(each)}
        if isinstance(each, TaskWork):
            touches = None if each.touches is None else [_ref_text(ref) for ref in each.touches]
            return {
                "task": each.method,
                "host": _ref_text(each.host) if each.host else None,
                "arguments": dump_sealed(each.arguments, keyring),
                "flags": [each.is_async, each.is_mutating],
                "touches": touches,
                "wait": each.wait and each.wait.to_json(),
            }
        if isinstance(each, Detached):
            return {"detached": write(each.command)}
        return {"command": write(each)}

    def piece(each: Plan) -> dict[str, Any]:
        if isinstance(each, Group):
            return {"group": group(each)}
        retry = each.retry and [each.retry.attempts, each.retry.pause_s, each.retry.pause_max_s]
        options = [
            each.step, each.weight, each.best_effort, each.key, each.after, retry, each.no_return, each.timeout_s,
        ]  # fmt: skip
        return {"part": work(each.work), "options": options}

    def group(each: Group) -> dict[str, Any]:
        parts = [piece(part) for part in each.parts]
        return {"order": each.order, "at_most": each.at_most, "stop": each.stop_on_failure, "parts": parts}

    return json.dumps(piece(steps.plan), ensure_ascii=False, separators=(",", ":"))


def load(text: str, read: Callable[[str, int, str], Command[Any]], keyring: Keyring | None) -> Steps:
    """What `dump` wrote. Raises what `read` raises, ValueError, KeyError, MissingKey."""

    def work(data: Mapping[str, Any]) -> Any:
        if "group" in data:
            return group(data["group"])
        if "command" in data:
            return read(*data["command"])
        if "detached" in data:
            return Detached(read(*data["detached"]))
        arguments = load_sealed(data["arguments"], keyring) if keyring else json.loads(data["arguments"])
        host, touches = data["host"], data["touches"]
        is_async, is_mutating = data["flags"]
        touched = None if touches is None else tuple(map(_ref, touches))
        wait = wait_of(data["wait"]) if data["wait"] else None
        return TaskWork(_ref(host) if host else None, data["task"], arguments, is_async, is_mutating, touched, wait)

    def piece(data: Mapping[str, Any]) -> Plan:
        if "group" in data:
            return group(data["group"])
        step, weight, best_effort, key, after, retry, no_return, timeout_s = data["options"]
        again = Retry(*retry) if retry else None
        return Part(work(data["part"]), step, weight, best_effort, key, tuple(after), again, no_return, timeout_s)

    def group(data: Mapping[str, Any]) -> Group:
        parts = tuple(piece(each) for each in data["parts"])
        return Group(parts, Order(data["order"]), data["at_most"], data["stop"])

    return Steps(plan=piece(json.loads(text)))


def _ref_text(ref: Ref[Any]) -> list[str]:
    return [ref.type, str(ref.id)]


def _ref(data: list[str]) -> Ref[Any]:
    return Ref(data[0], UUID(data[1]))
