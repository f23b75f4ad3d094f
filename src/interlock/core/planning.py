"""Turns the plan that a phase returned into rows: all of it, before anything is sent (design rule 2)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.core import narration, step_tree, turns
from interlock.core.flow import Flow
from interlock.core.step_tree import Place
from interlock.model.errors import Refused
from interlock.model.layout import Options, PlannedPart, flatten, is_wrapper, outline, wrapped
from interlock.model.plan import Detached, Group, Part, Plan, TaskWork
from interlock.model.records import CommandRecord, Role, TaskRecord, id_of_part
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.model.states import Ends, TaskState
from interlock.model.waits import Wait

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
    ends: Ends | None = None
    #: what the class gives it where the part says nothing
    timeout_s: float | None = None
    #: whether what has succeeded of it may be kept while a person decides
    resumable: bool = False
    #: whether its end is right although parts of it were skipped
    skippable: bool = False


@dataclass(frozen=True, slots=True)
class Author:
    """What planning needs from outside, handed in: new ids, stored forms, JSON of arguments, host journals, the
    number of the last signal, and how a job of its own is begun."""

    new_id: Callable[[], UUID]
    describe: Callable[[Any], Described]
    dump_arguments: Callable[[TaskWork], str]
    incarnation_of: Callable[[Ref[Any]], str | None]
    last_signal: Callable[[], int]
    begin_job: Callable[[Any], UUID]


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
    shown = {position for position, _ in parent.options.outline} if role is Role.FORWARD else set()
    children: list[CommandRecord] = []
    # no class gives a deadline to what mends, and nobody is asked there
    by_class = role is Role.FORWARD and not turns.mends(flow, parent)
    for planned in parts:
        if by_class and parent.options.asks and isinstance(planned.part.work, (TaskWork, Detached)):
            planned = replace(planned, part=wrapped(planned.part))  # what may be tried again is a command
        if isinstance(planned.part.work, (TaskWork, Detached)):
            task = _task_row(flow, parent, planned, role, author, now, undoes)
            flow.put_task(task)
            narration.task_planned(flow, task)
            narration.task_moved(flow, task, now)
        else:
            planned = _as_stored(planned, parent.refs)
            id = id_of_part(parent.id, planned.position) if planned.position in shown else author.new_id()
            child = _command_row(id, parent, planned, role, author, now, undoes, by_class=by_class)
            flow.put_command(child)
            narration.command_planned(flow, child)
            if child.options.outline:
                _show_within(flow, child.id, planned.part.work, step_tree.place_within(flow, child), author)
            children.append(child)
    return _due(flow, children)


def _as_stored(planned: PlannedPart, refs: tuple[Ref[Any], ...]) -> PlannedPart:
    """A group is stored with what its tasks touch, and with an outline of what shows before it begins."""
    if not isinstance(planned.part.work, Group):
        return planned
    group = _kept(planned.part.work, refs)
    return replace(
        planned, part=replace(planned.part, work=group), options=replace(planned.options, outline=outline(group))
    )


def _show_within(flow: Flow, group_id: UUID, group: Group, place: Place, author: Author) -> None:
    """The steps of what a group will plan, in that order. Each has the id that its command will have."""
    for planned in flatten(group):
        part, id, here = planned.part, id_of_part(group_id, planned.position), place.of_part(planned.position)
        if part.step is not None and id not in flow.steps:
            described = author.describe(part.work)
            step_tree.plan_step(flow, id, here, part.step, described.title, part.weight, described.refs)
        if isinstance(part.work, Group):
            _show_within(flow, id, part.work, here if part.step is None else Place(id), author)


def _due(flow: Flow, children: Sequence[CommandRecord]) -> list[UUID]:
    """Whose turn it is at once; of a bounded group as many as may run."""
    due: list[UUID] = []
    taken: Counter[int | None] = Counter()
    for child in children:
        pool, at_most = child.options.pool, child.options.at_most
        if turns.turn(flow, child) and (at_most is None or taken[pool] < at_most):
            taken[pool] += 1
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


def _key(part: Part, position: int, name: str) -> str:
    return part.key if part.key is not None else f"{name}#{position}"


def _command_row(
    id: UUID,
    parent: CommandRecord,
    planned: PlannedPart,
    role: Role,
    author: Author,
    now: int,
    undoes: UUID | None,
    *,
    by_class: bool,
) -> CommandRecord:
    part = planned.part
    described = author.describe(part.work)
    asks = by_class and parent.options.asks and described.resumable and not is_wrapper(part.work)
    skips = asks and described.skippable and (parent.options.skips or not isinstance(part.work, Group))
    by_entity = parent.options.ends_by_entity if described.ends is None else described.ends is Ends.BY_ENTITY
    return CommandRecord(
        id=id,
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
        options_json=_options(
            planned,
            by_entity,
            described.timeout_s if by_class else None,
            asks=asks,
            skips=skips,
        ).to_json(),
    )


def _options(planned: PlannedPart, by_entity: bool, default_s: float | None, *, asks: bool, skips: bool) -> Options:
    timeout_s = default_s if planned.options.timeout_s is None else planned.options.timeout_s
    return replace(planned.options, ends_by_entity=by_entity, timeout_s=timeout_s, asks=asks, skips=skips)


def _kept(group: Group, refs: tuple[Ref[Any], ...]) -> Group:
    """The group as it is stored. Its tasks say what they touch: by default what the command that planned them names;
    one that shows is wrapped, since the id of a task is not to be chosen before its turn."""

    def said(piece: Plan) -> Plan:
        if isinstance(piece, Group):
            return _kept(piece, refs)
        if isinstance(piece.work, Group):
            return replace(piece, work=_kept(piece.work, refs))
        if isinstance(piece.work, TaskWork) and piece.work.touches is None:
            piece = replace(piece, work=replace(piece.work, touches=refs))
        is_task = isinstance(piece.work, (TaskWork, Detached))
        return wrapped(piece) if is_task and piece.step is not None else piece

    return replace(group, parts=tuple(map(said, group.parts)))


def _task_row(
    flow: Flow,
    parent: CommandRecord,
    planned: PlannedPart,
    role: Role,
    author: Author,
    now: int,
    undoes: UUID | None,
) -> TaskRecord:
    part, work = planned.part, _task_of(planned.part.work, author)
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
        **_waiting(flow, work.wait, author, now),
        deadline_at=None if part.timeout_s is None else now + round(part.timeout_s * 1e6),
    )


def _task_of(work: TaskWork | Detached, author: Author) -> TaskWork:
    """A detached command is begun as a job of its own; what remains here is the wait for its end."""
    if isinstance(work, TaskWork):
        return work
    job = author.begin_job(work.command)
    return TaskWork(None, f"job {work.command.command_type.name}", {}, True, False, (), Wait(job=job))


def _waiting(flow: Flow, wait: Wait | None, author: Author, now: int) -> dict[str, Any]:
    """How a wait differs from work: it has begun, in the phase that plans it."""
    if wait is None:
        return {}
    if wait.signal is not None:
        wait = replace(wait, begun_after=author.last_signal(), not_these=flow.announced(wait.signal))
    return {"wait_json": wait.to_json(), "state": TaskState.POLLING, "sent_at": now}
