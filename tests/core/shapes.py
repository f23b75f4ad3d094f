"""Random trees of plans, and the small flow in memory that the tests of core play them on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from interlock.core import narration
from interlock.core.flow import Flow
from interlock.core.planning import Author, Described
from interlock.model.layout import Options
from interlock.model.plan import NOTHING, Group, Order, Part, Plan, Retry, TaskWork, part
from interlock.model.records import CommandRecord, JobRecord, Role
from interlock.model.refs import Ref
from interlock.model.states import Ends, StepStatus

#: the entities that commands lock and tasks touch
REFS: tuple[Ref[Any], ...] = tuple(Ref("disk", UUID(int=0xD0 + n)) for n in range(3))
#: the time at which a flow begins, in microseconds
START = 1_000


@dataclass(frozen=True)
class Task:
    """An async task; `touches` are indexes of REFS."""

    touches: tuple[int, ...] = ()
    is_mutating: bool = True


@dataclass(frozen=True)
class Spec:
    """A command: what its phases return. `locks` are indexes of REFS."""

    plan: "Shape | Plan" = field(default_factory=lambda: Several())
    end_plan: "Shape" = field(default_factory=lambda: Several())
    undo_plan: "Shape" = field(default_factory=lambda: Several())
    locks: tuple[int, ...] = ()
    ends: Ends | None = None
    resumable: bool = False


@dataclass(frozen=True)
class One:
    """A part of a plan."""

    work: Task | Spec
    step: str | None = None
    best_effort: bool = False
    weight: int = 1
    retry: Retry | None = None
    no_return: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True)
class Several:
    """Parts side by side, one after the other, or until one succeeds."""

    shapes: tuple["Shape", ...] = ()
    order: Order = Order.BESIDE
    at_most: int | None = None
    stop_on_failure: bool = False


Shape = One | Several


class Mint:
    """New ids in order, and what planning needs from outside."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.specs: dict[str, Spec] = {}
        self.author = Author(
            self.new_id, self._describe, lambda work: "{}", lambda host: None, lambda: 0, self._no_jobs
        )  # fmt: skip

    def new_id(self) -> UUID:
        return UUID(int=next(self._numbers))

    def _no_jobs(self, command: object) -> UUID:
        raise NotImplementedError(f"{command} is a part of no shape")

    def _describe(self, work: Spec | Group) -> Described:
        spec = Spec(plan=work, resumable=True) if isinstance(work, Group) else work
        name = f"spec{len(self.specs)}"
        self.specs[name] = spec
        refs = tuple(REFS[n] for n in spec.locks)
        return Described(name, 1, "{}", refs, f"Do {name}", spec.ends, resumable=spec.resumable, skippable=True)

    def flow_of(self, spec: Spec) -> Flow:
        """A flow that was accepted and not yet begun."""
        described, id = self._describe(spec), self.new_id()
        flow = Flow(id)
        flow.put_command(
            CommandRecord(
                id=id, flow_id=id, parent_id=None, correlation_id="ticket-1", name=described.name, version=1,
                parameters_json="{}", refs=described.refs, title=described.title, depth=0, role=Role.FORWARD,
                key=described.name, position=0, after=(), step=None, weight=1, best_effort=False, created_at=START,
                options_json=Options(
                    ends_by_entity=spec.ends is Ends.BY_ENTITY, asks=spec.resumable, skips=spec.resumable
                ).to_json(),
            )
        )  # fmt: skip
        flow.put_job(
            JobRecord(
                id=id, action=described.name, title=described.title, status=StepStatus.STARTED,
                correlation_id="ticket-1", user="", parameters_json="{}", refs=described.refs, started_at=START,
                updated_at=START,
            )
        )  # fmt: skip
        narration.open_job(flow, (self.new_id(), self.new_id(), self.new_id()), START)
        return flow

    def spec_of(self, command: CommandRecord) -> Spec:
        return self.specs[command.name]


def plan_of(shape: Shape | Plan) -> Plan:
    """The plan that a phase would return."""
    if isinstance(shape, Group | Part):
        return shape
    if isinstance(shape, Several):
        pieces = tuple(plan_of(each) for each in shape.shapes)
        return Group(pieces, shape.order, shape.at_most, shape.stop_on_failure) if pieces else NOTHING
    work: Any = shape.work
    if isinstance(work, Task):
        touches = tuple(REFS[n] for n in work.touches)
        work = TaskWork(None, "copy", {}, True, work.is_mutating, touches)
    return part(
        work, step=shape.step, weight=shape.weight, best_effort=shape.best_effort, retry=shape.retry,
        no_return=shape.no_return, timeout_s=shape.timeout_s,
    )  # fmt: skip


_which_refs = st.lists(st.integers(0, len(REFS) - 1), max_size=2, unique=True).map(tuple)
_tasks = st.builds(Task, touches=_which_refs, is_mutating=st.booleans())
_steps = st.sampled_from([None, None, "COPY", "DELETE"])
_retries = st.sampled_from([None, None, None, Retry(2), Retry(3, 0.0)])
_ends = st.sampled_from([None, None, None, *Ends])
_timeouts = st.sampled_from([None, None, 0.5, 60.0])
_rarely = st.sampled_from([False, False, False, True])


@st.composite
def _shapes(draw: st.DrawFn, depth: int, nesting: int, alternative: bool = False, resumable: bool = False) -> Shape:
    """Parts whose commands nest at most so deep."""
    order = draw(st.sampled_from([None, *Order])) if nesting else None
    if order is None:
        work = draw(_tasks) if draw(st.booleans()) else draw(specs(depth, resumable))
        best_effort = not alternative and draw(st.sampled_from([False, False, True]))
        weight, timeout_s = draw(st.integers(1, 3)), draw(_timeouts)
        return One(work, draw(_steps), best_effort, weight, draw(_retries), draw(_rarely), timeout_s)
    is_choice = order is Order.FIRST_OF
    many = draw(st.sampled_from([2, 3, 4, 1] if is_choice else [2, 3, 4, 1, 0]))
    pieces = tuple(draw(_shapes(depth, nesting - 1, is_choice, resumable)) for _ in range(many))
    if order is Order.BESIDE:
        return Several(pieces, order, draw(st.sampled_from([None, None, 1, 2])), draw(_rarely))
    return Several(pieces, order)


@st.composite
def specs(draw: st.DrawFn, depth: int, resumable: bool = False) -> Spec:
    """Commands with at most so many levels below them. Where the first is `resumable`, some of them are."""
    if depth == 0:
        return Spec(locks=draw(_which_refs), ends=draw(_ends), resumable=resumable)
    cleaning = st.just(Several()) | _shapes(0, 0)
    below = resumable and draw(st.booleans())
    plan = draw(_shapes(draw(st.integers(0, depth - 1)), 2 if depth > 1 else 1, resumable=below))
    return Spec(plan, draw(cleaning), draw(cleaning), draw(_which_refs), draw(_ends), resumable)


def below(flow: Flow, id: UUID) -> Iterator[CommandRecord]:
    """The children of a command, whatever planned them."""
    return (row for row in flow.commands.values() if row.parent_id == id)
