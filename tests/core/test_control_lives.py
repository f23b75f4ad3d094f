"""People steer random flows at random moments: no second end, no lost cancel, nothing accepted that changes nothing."""

from collections.abc import Callable
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from interlock.core import asking, cancelling, pausing, settling, turns
from interlock.core.facts import Examine
from interlock.core.flow import Flow
from interlock.core.lifecycle import examine_all
from interlock.core.settling import Settlement
from interlock.model.decisions import Decision
from interlock.model.errors import Missing, Refused
from interlock.model.locks import LockMode
from interlock.model.records import LeftoverRecord, TaskRecord, TicketRecord
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Result, State
from interlock.model.wishes import Wish
from tests.core.playing import Play
from tests.core.shapes import REFS, specs
from tests.core.test_decide import _HOW, _MANY, _OUTCOMES, Lives
from tests.thorough import with_examples

_MODES = st.sampled_from(["cancel", "cancel", "stop", "force"])


class Steered(Lives):
    """One flow, which people cancel, stop, pause, and decide about."""

    @initialize(
        spec=st.booleans().flatmap(lambda resumable: specs(3, resumable)),
        luck=st.lists(st.tuples(_HOW, _OUTCOMES), max_size=40),
    )
    def accept(self, spec: object, luck: list[tuple[str, Outcome]]) -> None:
        self.play = Play(spec)  # type: ignore[arg-type]
        self.luck = luck
        #: what had begun when the job was paused; None: not known
        self.begun: set[UUID] | None = None

    # what people do ---------------------------------------------------------------------------------

    def _steer(self, change: Callable[[Flow, int], object]) -> bool:
        """As an errand of the flow: refused whole with a reason, or it changes rows and is told."""
        flow = self.play.flow
        mark, told = flow.mark(), len(flow.events)
        rows = (dict(flow.commands), dict(flow.tasks), flow.job)
        try:
            change(flow, self.play.now)
        except (Refused, Missing):
            flow.roll_back(mark)
            return False
        assert (dict(flow.commands), dict(flow.tasks), flow.job) != rows, "it was accepted and changed nothing"
        assert len(flow.events) > told, "it was accepted and nobody is told"
        for fact in examine_all(flow):
            assert isinstance(fact, Examine)  # none of the shapes waits
            self.play._decide(fact)
        return True

    @rule(mode=_MODES, index=_MANY, whole=st.booleans())
    def stop(self, mode: str, index: int, whole: bool) -> None:
        flow = self.play.flow
        rows = [*flow.commands, *flow.tasks]
        target = None if whole else rows[index % len(rows)]
        wish = Wish(UUID(int=1), "ann", "so", target)
        change = {"cancel": cancelling.cancel, "stop": cancelling.stop_tasks, "force": cancelling.force}[mode]
        if self._steer(lambda flow, now: change(flow, wish, now)) and mode == "force":
            meant = cancelling.meant(flow, wish)
            below = [meant] if isinstance(meant, TaskRecord) else cancelling.below(flow, meant)
            ids = {row.id for row in below}
            assert all(task.outcome for task in flow.tasks.values() if task.id in ids or task.command_id in ids)

    @rule()
    def pause(self) -> None:
        if self._steer(lambda flow, now: pausing.pause(flow, Wish(UUID(int=1), "ann"), now)):
            self.begun = {row.id for row in self.play.flow.commands.values() if row.state is not State.PENDING}

    @rule()
    def resume(self) -> None:
        if self._steer(lambda flow, now: pausing.resume(flow, Wish(UUID(int=1), "ann"), now)):
            self.begun = None

    @rule(priority=st.integers(-3, 3))
    def prioritize(self, priority: int) -> None:
        flow = self.play.flow
        if flow.root.state is State.PENDING:
            ticket = TicketRecord(flow.id, REFS[0], flow.id, LockMode.SHARED, 0, self.play.now)
            flow.put_ticket(ticket)
        if self._steer(lambda flow, now: pausing.prioritize(flow, priority, Wish(UUID(int=1), "ann"), now)):
            assert all(row.rank == row.since - priority * 60_000_000 for row in self.play.flow.tickets.values())
        self.play.flow.drop_tickets(flow.id)

    @rule(decision=st.sampled_from(Decision), index=_MANY, named=st.booleans(), leave=st.booleans())
    def decide_about(self, decision: Decision, index: int, named: bool, leave: bool) -> None:
        rows = list(self.play.flow.commands)
        target = rows[index % len(rows)] if named else None
        wish = Settlement(decision, target, "ann", "so", leave)

        def change(flow: Flow, now: int) -> None:
            settling.settle(flow, settling.chosen(flow, wish), wish, now)

        self._steer(change)

    @precondition(lambda self: self.play.flow.leftovers)
    @rule(index=_MANY)
    def clear_leftover(self, index: int) -> None:
        rows: list[LeftoverRecord] = list(self.play.flow.leftovers.values())
        row = rows[index % len(rows)]
        if row.cleared_at is None and self.play.flow.root.state is not State.ENDED:
            self.play.flow.put_leftover(replace(row, cleared_at=self.play.now, cleared_by="ann", cleared_reason="so"))

    @rule()
    def roll_back(self) -> None:
        super().roll_back()
        self.begun = None

    @rule(order=st.lists(_MANY, max_size=5))
    def crash(self, order: list[int]) -> None:
        super().crash(order)
        self.begun = None

    # at every moment --------------------------------------------------------------------------------

    @invariant()
    def of_a_paused_job_nothing_begins(self) -> None:
        flow = self.play.flow
        if self.begun is not None and flow.job.paused_by is not None:
            begun = {
                row.id
                for row in flow.commands.values()
                if row.started_at is not None and row.state is not State.PENDING and not turns.mends(flow, row)
            }
            assert begun <= self.begun

    @invariant()
    def no_cancel_is_lost(self) -> None:
        for row in self.play.flow.commands.values():
            if row.stopped_by is None or row.state is not State.ENDED or row.forced_by is not None:
                continue
            assert row.result is Result.CANCELLED or (row.result is Result.SUCCEEDED and self._is_late(row.id))

    def _is_late(self, id: UUID) -> bool:
        """It, or what it is part of, says that it succeeded all the same."""
        flow = self.play.flow
        row = flow.commands[id]
        return row.has_warnings or (row.parent_id is not None and flow.commands[row.parent_id].stopping is not None)

    @invariant()
    def who_asks_has_parts_that_failed(self) -> None:
        flow = self.play.flow
        for row in flow.commands.values():
            if row.asking is not None:
                assert (row.state, row.stopping) == (State.EXECUTING, None)
                assert asking.unmet(flow, row)
                assert flow.job.attention is not None

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        flow = self.play.flow
        if flow.job.paused_by is not None:
            flow.put_job(replace(flow.job, paused_by=None))
            for fact in examine_all(flow):
                self.play._decide(fact)
        super().teardown()


TestSteered = Steered.TestCase
TestSteered.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, print_blob=False, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip
TestSteeredThoroughly = with_examples(TestSteered, 500)
