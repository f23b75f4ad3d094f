"""Locks of many flows in random order, against a model: modes, waits, priorities, ageing, scopes, circles, crashes."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interlock.model.locks import LockMode, Locks, LockScope, exclusive
from interlock.model.records import CommandRecord, LockRecord, TicketRecord
from interlock.model.states import Result, State
from tests.coordinator.lock_play import REFS, LockPlay
from tests.thorough import with_examples

_MANY = st.integers(0, 50)
_LOCK = st.tuples(st.sampled_from(REFS), st.sampled_from([*LockMode, LockMode.EXCLUSIVE]), st.sampled_from(LockScope))
_LOCKS = st.builds(
    Locks,
    st.lists(_LOCK, min_size=1, max_size=3).map(tuple),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([None, None, 1.0, 300.0]),
)
_RESULT = st.sampled_from([Result.SUCCEEDED, Result.SUCCEEDED, Result.FAILED])


class Locking(RuleBasedStateMachine):
    """A few flows with parts, all on the same few refs."""

    def __init__(self) -> None:
        super().__init__()
        self.play = LockPlay()

    @precondition(lambda self: len(self.play.flows) < 8)
    @rule(priority=st.sampled_from([0, 0, 0, 3, -3]), wanted=_LOCKS)
    def begin_flow(self, priority: int, wanted: Locks) -> None:
        self.play.ask(self.play.begin_flow(priority), wanted)

    @precondition(lambda self: self.play.commands(State.EXECUTING))
    @rule(index=_MANY, wanted=_LOCKS)
    def begin_part(self, index: int, wanted: Locks) -> None:
        above = self.play.commands(State.EXECUTING)
        self.play.ask(self.play.begin_part(above[index % len(above)]), wanted)

    @precondition(lambda self: self.play.waiting())
    @rule(index=_MANY)
    def ask_again(self, index: int) -> None:
        waiting = self.play.waiting()
        command = waiting[index % len(waiting)]
        self.play.ask(command, self.play.wants[command.id])

    @precondition(lambda self: self.play.without_open_parts())
    @rule(index=_MANY, result=_RESULT)
    def finish(self, index: int, result: Result) -> None:
        over = self.play.without_open_parts()
        self.play.finish(over[index % len(over)], result)

    @rule(s=st.sampled_from([1, 30, 90, 400]))
    def wait(self, s: int) -> None:
        self.play.now += s * 1_000_000

    @rule()
    def crash(self) -> None:
        self.play.crash()

    # at every moment --------------------------------------------------------------------------------

    @invariant()
    def locks_are_those_of_the_model(self) -> None:
        rows = {(lock.ref, lock.flow_id): lock.mode for lock in self._locks()}
        assert rows == {(ref, flow): mode for ref, held in self.play.model.held.items() for flow, mode in held.items()}

    @invariant()
    def who_holds_a_ref_alone_is_alone(self) -> None:
        for ref in REFS:
            modes = [lock.mode for lock in self._locks() if lock.ref == ref]
            assert len(modes) <= 1 or set(modes) == {LockMode.SHARED}

    @invariant()
    def nobody_loses_what_he_relies_on(self) -> None:
        held = {(lock.ref, lock.flow_id): lock.mode for lock in self._locks()}
        for command, ref, mode in self.play.live_claims():
            assert held.get((ref, command.flow_id)) in (mode, LockMode.EXCLUSIVE), (command, ref)

    @invariant()
    def nothing_is_kept_for_an_execution_that_is_over(self) -> None:
        for lock in self._locks():
            owner = self.play.flows[lock.flow_id].commands[lock.command_id]
            assert lock.scope is LockScope.COMMAND or owner.result is not Result.SUCCEEDED

    @invariant()
    def who_waits_has_tickets_of_one_age_and_nobody_else_has(self) -> None:
        tickets = [row for row in self.play.stored.values() if isinstance(row, TicketRecord)]
        assert {row.command_id for row in tickets} == {row.id for row in self.play.waiting()}
        assert {(row.command_id, row.ref): (row.mode, row.rank) for row in tickets} == {
            (id, ref): (mode, wait.rank)
            for id, wait in self.play.model.waits.items()
            for ref, mode in wait.modes.items()
        }

    @invariant()
    def nobody_waits_in_a_circle(self) -> None:
        assert not any(map(self.play.model.circle_through, self.play.flows))

    def _locks(self) -> list[LockRecord]:
        return [row for row in self.play.stored.values() if isinstance(row, LockRecord)]

    # at the end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When everybody goes on, everybody who waits has his turn."""
        play = self.play
        for _ in range(200):
            for command in play.waiting():
                if command.id in play.model.waits:
                    play.ask(command, play.wants[command.id])
            busy = {command.flow_id for command in play.waiting()}
            over = [command for command in play.without_open_parts() if command.flow_id not in busy]
            for command in over:
                play.finish(command, Result.SUCCEEDED)
            if not over:
                break
        assert not play.commands(State.PENDING, State.EXECUTING), "somebody waits for ever"
        assert self._locks() == []


TestLocking = Locking.TestCase
TestLocking.settings = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    database=None,
)
TestLockingThoroughly = with_examples(TestLocking, 500)


# ways in which flows once waited for ever -------------------------------------------------------------


def alone(*numbers: int) -> Locks:
    return exclusive(*(REFS[number] for number in numbers)).waiting()


def begun(play: LockPlay, wanted: Locks, priority: int = 0) -> CommandRecord:
    """A flow that executes, or waits; its root as it is now."""
    play.now += 1
    root = play.begin_flow(priority)
    play.ask(root, wanted)
    return play.flows[root.id].root


def part_of(play: LockPlay, root: CommandRecord, wanted: Locks) -> CommandRecord:
    """A part of a flow that executes, or waits, or was refused."""
    play.now += 1
    part = play.begin_part(play.flows[root.id].root)
    play.ask(part, wanted)
    return play.flows[root.id].commands[part.id]


def test_one_of_high_priority_does_not_wait_for_those_whom_it_passes() -> None:
    """It came before them in the queue for one disk, and waited for them because of another."""
    play = LockPlay()
    begun(play, alone(0))
    passed = begun(play, alone(3))
    assert part_of(play, passed, alone(0)).state is State.PENDING
    first = begun(play, alone(1), priority=5)
    refused = part_of(play, first, alone(0, 3))
    assert (refused.result, play.model.circle_through(first.id)) == (Result.FAILED, False)


def test_a_flow_of_which_a_part_waits_takes_nothing_from_those_it_waits_for() -> None:
    """It held nothing and so was in nobody's way, until another part took by its priority what they waited for."""
    play = LockPlay()
    busy, holder = begun(play, alone(1)), begun(play, alone(2))
    waits = part_of(play, busy, alone(2))
    flow = begun(play, Locks(), priority=5)
    assert part_of(play, flow, alone(1)).state is State.PENDING
    play.finish(holder, Result.SUCCEEDED)
    assert part_of(play, flow, alone(2)).state is State.PENDING
    play.ask(waits, alone(2))
    assert play.flows[busy.id].commands[waits.id].state is State.EXECUTING
