"""Sequences forward and back, with crashes at any point: each stage once, at its turn, undone once and in reverse."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.core.facts import Compensate
from interlock.model.plan import Order, Retry
from interlock.model.records import CommandRecord, Role, Undo
from interlock.model.states import Outcome, Result, State
from tests.core.playing import Play
from tests.core.shapes import One, Several, Spec, Task
from tests.thorough import with_examples

_MANY = st.integers(0, 50)
_HOW = st.sampled_from(["ok", "ok", "ok", "ok", "ok", "ok", "raise", "refuse"])
_OUTCOMES = st.sampled_from([Outcome.SUCCEEDED] * 8 + [Outcome.FAILED, Outcome.LOST])
_STAGES = st.lists(
    st.builds(
        One,
        st.sampled_from([Spec(plan=One(Task())), Spec(plan=One(Task()), undo_plan=One(Task(is_mutating=False)))]),
        step=st.just("STAGE"),
        best_effort=st.sampled_from([False, False, False, False, True]),
        retry=st.sampled_from([None, None, Retry(2, 0.0)]),
        no_return=st.sampled_from([False, False, True]),
    ),
    min_size=3,
    max_size=6,
)


@dataclass
class Recorded(Play):
    """Notes which stages were executed, and which undone, by transactions that were committed."""

    #: the stage whose task fails whenever it is tried
    fails_at: int = -1
    executed: list[UUID] = field(default_factory=list)
    undone: list[UUID] = field(default_factory=list)
    _executing: list[UUID] = field(default_factory=list)
    _undoing: list[UUID] = field(default_factory=list)

    def _start(self, id: UUID, how: str) -> None:
        super()._start(id, how)
        if how == "ok" and id != self.flow.id and self.flow.commands[id].role is Role.FORWARD:
            self._executing.append(id)

    def _compensate(self, due: Compensate, how: str) -> None:
        super()._compensate(due, how)
        if how == "ok":
            self._undoing.append(due.undone)

    def finish(self, index: int, outcome: Outcome = Outcome.SUCCEEDED, host_result: str | None = None) -> None:
        task = self.open_tasks()[index % len(self.open_tasks())]
        is_bad = task.role is Role.FORWARD and self.flow.commands[task.command_id].position == self.fails_at
        super().finish(index, Outcome.FAILED if is_bad else outcome, host_result)

    def commit(self) -> None:
        super().commit()
        self.executed += self._executing
        self.undone += self._undoing
        self._forget()

    def crash(self, order: Sequence[int] = ()) -> None:
        self._forget()
        super().crash(order)

    def roll_back(self) -> None:
        self._forget()
        super().roll_back()

    def _forget(self) -> None:
        self._executing.clear()
        self._undoing.clear()


class Stages(RuleBasedStateMachine):
    """One sequence to its end."""

    @initialize(stages=_STAGES, luck=st.lists(st.tuples(_HOW, _OUTCOMES), max_size=20), fails_at=st.integers(0, 6))
    def accept(self, stages: list[One], luck: list[tuple[str, Outcome]], fails_at: int) -> None:
        self.play = Recorded(Spec(plan=Several(tuple(stages), Order.IN_TURN)), fails_at=fails_at)
        self.luck = luck

    @precondition(lambda self: self.play.due)
    @rule(how=_HOW, index=_MANY)
    def do(self, how: str, index: int) -> None:
        self.play.do(index, how)

    @precondition(lambda self: self.play.open_tasks())
    @rule(outcome=_OUTCOMES)
    def finish(self, outcome: Outcome) -> None:
        self.play.finish(0, outcome)

    @rule()
    def commit(self) -> None:
        self.play.commit()

    @rule()
    def roll_back(self) -> None:
        self.play.roll_back()

    @rule(order=st.lists(_MANY, max_size=3))
    def crash(self, order: list[int]) -> None:
        self.play.crash(order)

    @rule(us=st.integers(0, 20_000_000))
    def wait(self, us: int) -> None:
        self.play.wait(us)

    # what is committed ------------------------------------------------------------------------------

    def stages(self) -> list[CommandRecord]:
        """The stages as they are stored, each in its latest attempt, by index."""
        rows = [row for row in self.play.stored.values() if isinstance(row, CommandRecord)]
        found = [row for row in rows if row.parent_id == self.play.flow.id and row.role is Role.FORWARD]
        return sorted((row for row in found if not row.superseded and row.undoes is None), key=lambda row: row.position)

    @invariant()
    def one_stage_is_under_way_and_those_before_it_have_done_their_work(self) -> None:
        is_passed = True
        for stage in self.stages():
            assert is_passed or stage.state is State.PENDING or stage.result is Result.CANCELLED
            is_passed = is_passed and (stage.result is Result.SUCCEEDED or (stage.best_effort and bool(stage.result)))

    @invariant()
    def each_attempt_is_executed_once_in_the_order_of_the_stages(self) -> None:
        executed, commands = self.play.executed, self.play.flow.commands
        assert len(set(executed)) == len(executed)
        places = [(commands[id].position, commands[id].attempt) for id in executed]
        assert places == sorted(places)

    @invariant()
    def each_is_undone_once_the_last_that_completed_first_and_none_after_its_undoing_is_executed(self) -> None:
        commands = self.play.flow.commands
        positions = [commands[id].position for id in self.play.undone]
        assert positions == sorted(set(positions), reverse=True)
        assert all(commands[id].result is Result.SUCCEEDED for id in self.play.undone)

    # at the end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        self.play.play_out(self.luck)
        self.one_stage_is_under_way_and_those_before_it_have_done_their_work()
        self.each_attempt_is_executed_once_in_the_order_of_the_stages()
        self.each_is_undone_once_the_last_that_completed_first_and_none_after_its_undoing_is_executed()
        root, stages = self.play.flow.root, self.stages()
        final = [row for row in stages if row.options.no_return]
        passed = [row.position for row in final if row.result is Result.SUCCEEDED or row.has_leftovers]
        kept = max(passed, default=-1)
        wanted = [row for row in stages if row.result is Result.SUCCEEDED and row.position > kept]
        wanted = [] if root.result is not Result.FAILED else wanted
        assert [row.id for row in stages if row.undo is not None] == [row.id for row in wanted]
        given_up = {row.id for row in wanted if row.undo is Undo.FAILED}
        assert set(self.play.undone) <= {row.id for row in wanted} <= set(self.play.undone) | given_up


TestStages = Stages.TestCase
TestStages.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    database=None,
)
TestStagesThoroughly = with_examples(TestStages, 600)
