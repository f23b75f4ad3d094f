"""Turns the plan that a phase returned into rows: all of it, before anything is sent (design rule 2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.core import narration
from interlock.core.flow import Flow
from interlock.model.errors import Refused
from interlock.model.plan import Part, Plan, PlannedPart, TaskWork, flatten
from interlock.model.records import CommandRecord, Role, TaskRecord
from interlock.model.refs import Ref

#: how deep children may nest, and how many parts and orderings one plan may have
DEPTH_MAX = 50
PARTS_MAX = 20_000
EDGES_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Described:
    """A command as it is stored."""

    name: str
    version: int
    parameters_json: str
    refs: tuple[Ref[Any], ...]
    title: str


@dataclass(frozen=True, slots=True)
class Author:
    """What planning needs from outside, handed in: new ids, stored forms, JSON of arguments, host journals."""

    new_id: Callable[[], UUID]
    describe: Callable[[Any], Described]
    dump_arguments: Callable[[TaskWork], str]
    incarnation_of: Callable[[Ref[Any]], str | None]


def lay_out(
    flow: Flow,
    parent: CommandRecord,
    plan: Plan,
    role: Role,
    author: Author,
    now: int,
    *,
    undoes: UUID | None = None,
) -> list[UUID]:
    """Writes a row for every part; returns the child commands that are due at once, in the plan's order."""
    parts = flatten(plan)
    _check(parent, parts)
    due: list[UUID] = []
    for planned in parts:
        if isinstance(planned.part.work, TaskWork):
            task = _task_row(flow, parent, planned, role, author, now, undoes)
            flow.put_task(task)
            narration.task_planned(flow, task)
        else:
            child = _command_row(parent, planned, role, author, now, undoes)
            flow.put_command(child)
            narration.command_planned(flow, child)
            if not planned.after:
                due.append(child.id)
    return due


def _check(parent: CommandRecord, parts: Sequence[PlannedPart]) -> None:
    if len(parts) > PARTS_MAX:
        raise Refused(f"the plan of {parent.title} has {len(parts)} parts; at most {PARTS_MAX}, nest the rest")
    if sum(len(planned.after) for planned in parts) > EDGES_MAX:
        raise Refused(f"the plan of {parent.title} orders too many parts after too many; wrap a group in a command")
    if parent.depth >= DEPTH_MAX and parts:
        raise Refused(f"{parent.title} is nested {parent.depth} deep; at most {DEPTH_MAX}")
    keys = [planned.part.key for planned in parts if planned.part.key is not None]
    if len(keys) != len(set(keys)):
        raise Refused(f"two parts of the plan of {parent.title} have the same key")
    tasks = {planned.position: planned.part.work for planned in parts if isinstance(planned.part.work, TaskWork)}
    ordered = {position for planned in parts if planned.after for position in (planned.position, *planned.after)}
    for position in sorted(ordered & tasks.keys()):
        raise Refused(f"{tasks[position].method} is an async task within a sequence; wrap it in a command")


def _key(part: Part, position: int, name: str) -> str:
    return part.key if part.key is not None else f"{name}#{position}"


def _command_row(
    parent: CommandRecord, planned: PlannedPart, role: Role, author: Author, now: int, undoes: UUID | None
) -> CommandRecord:
    part, described = planned.part, author.describe(planned.part.work)
    return CommandRecord(
        id=author.new_id(),
        flow_id=parent.flow_id,
        parent_id=parent.id,
        correlation_id=parent.correlation_id,
        name=described.name,
        version=described.version,
        parameters_json=described.parameters_json,
        refs=described.refs,
        title=described.title,
        depth=parent.depth + 1,
        role=role,
        key=_key(part, planned.position, described.name),
        position=planned.position,
        after=planned.after,
        step=part.step,
        weight=part.weight,
        best_effort=part.best_effort,
        created_at=now,
        undoes=undoes,
    )


def _task_row(
    flow: Flow,
    parent: CommandRecord,
    planned: PlannedPart,
    role: Role,
    author: Author,
    now: int,
    undoes: UUID | None,
) -> TaskRecord:
    part, work = planned.part, planned.part.work
    owner = parent if undoes is None else flow.commands[undoes]
    return TaskRecord(
        id=author.new_id(),
        flow_id=parent.flow_id,
        command_id=parent.id,
        correlation_id=parent.correlation_id,
        role=role,
        undoes=undoes,
        position=planned.position,
        host=work.host,
        method=work.method,
        arguments_json=author.dump_arguments(work),
        refs=owner.refs if work.touches is None else work.touches,
        is_async=work.is_async,
        is_mutating=work.is_mutating,
        step=part.step,
        weight=part.weight,
        best_effort=part.best_effort,
        created_at=now,
        incarnation=author.incarnation_of(work.host) if work.host else None,
    )
