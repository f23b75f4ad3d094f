"""`decide` on random trees, with random outcomes in random order, roll-backs and crashes at any point."""

from collections import Counter
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.model.failure import Failure
from interlock.model.layout import Outline
from interlock.model.records import CommandRecord, EventRecord, LockRecord, Role, SnapshotRecord, Undo, id_of_part
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState
from tests.core.playing import Play
from tests.core.shapes import Spec, below, specs
from tests.thorough import with_examples

_OPEN_STEPS = (StepStatus.PENDING, StepStatus.STARTED)
_OUTCOMES = st.sampled_from([Outcome.SUCCEEDED, Outcome.SUCCEEDED, *Outcome])
_MANY = st.integers(0, 50)
_HOW = st.sampled_from(["ok", "ok", "ok", "ok", "raise", "refuse"])


def of_choice(rows: list[CommandRecord], choice: int | None) -> list[CommandRecord]:
    return [row for row in rows if row.options.choice == choice]


def are_good(rows: list[CommandRecord]) -> bool:
    """Whether each succeeded, need not have, or has an alternative that did."""

    def succeeded(row: CommandRecord) -> bool:
        alternatives = [row] if row.options.choice is None else of_choice(rows, row.options.choice)
        if any(each.result is Result.SUCCEEDED or each.skipped_by for each in alternatives):
            return True
        return row.best_effort and bool(row.result)

    return all(map(succeeded, rows))


class Lives(RuleBasedStateMachine):
    """One flow from acceptance to its end."""

    @initialize(spec=specs(4), luck=st.lists(st.tuples(_HOW, _OUTCOMES), max_size=40))
    def accept(self, spec: Spec, luck: list[tuple[str, Outcome]]) -> None:
        self.play = Play(spec)
        self.luck = luck

    @precondition(lambda self: self.play.due)
    @rule(index=_MANY, times=st.integers(1, 6))
    def do(self, index: int, times: int) -> None:
        for _ in range(times):
            if self.play.due:
                self.play.do(index)

    @precondition(lambda self: self.play.due)
    @rule(index=_MANY, how=_HOW)
    def do_one(self, index: int, how: str) -> None:
        self.play.do(index, how)

    @precondition(lambda self: self.play.due)
    @rule(index=_MANY)
    def put_off(self, index: int) -> None:
        self.play.put_off(index)

    @precondition(lambda self: self.play.open_tasks())
    @rule(index=_MANY, progress=st.integers(0, 100))
    def answer_and_report(self, index: int, progress: int) -> None:
        self.play.answer(index)
        self.play.report(index, progress)

    @rule(index=_MANY)
    def overdue(self, index: int) -> None:
        self.play.overdue(index)

    @precondition(lambda self: self.play.open_tasks())
    @rule(index=_MANY)
    def stall(self, index: int) -> None:
        self.play.stall(index)

    @precondition(lambda self: self.play.open_tasks())
    @rule(index=_MANY, outcome=_OUTCOMES, host_result=st.sampled_from(["", "cleanFailure", "cleanSuccess"]))
    def finish(self, index: int, outcome: Outcome, host_result: str) -> None:
        self.play.finish(index, outcome, host_result if outcome is Outcome.FAILED else None)

    @rule(ok=st.booleans(), us=st.integers(0, 20_000_000))
    def clear_and_wait(self, ok: bool, us: int) -> None:
        self.play.clear(ok=ok)
        self.play.wait(us)

    @rule()
    def commit(self) -> None:
        self.play.commit()

    @rule()
    def roll_back(self) -> None:
        self.play.roll_back()

    @rule(order=st.lists(_MANY, max_size=5))
    def crash(self, order: list[int]) -> None:
        self.play.crash(order)

    # at every moment --------------------------------------------------------------------------------

    @invariant()
    def counters_equal_a_recount(self) -> None:
        for command in self.play.flow.commands.values():
            assert command.open == self._recount(command), command

    def _recount(self, command: CommandRecord) -> int:
        roles = {State.ENDED: None, State.COMPENSATING: Role.UNDO, State.FINALIZING: Role.END}
        role, flow = roles.get(command.state, Role.FORWARD), self.play.flow
        children = [row for row in below(flow, command.id) if row.role is role and row.state is not State.ENDED]
        tasks = [row for row in flow.tasks.values() if row.command_id == command.id and row.role is role]
        return len(children) + sum(task.outcome is None for task in tasks)

    @invariant()
    def results_are_there_exactly_at_the_end(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            ended = command.state is State.ENDED
            assert ended is (command.result is not None) is (command.ended_at is not None)
            assert ended is (command.ended_seq is not None)
            if ended:
                assert all(child.state is State.ENDED for child in below(flow, command.id))
                assert all(task.outcome for task in flow.tasks.values() if task.command_id == command.id)
        places = [row.ended_seq for row in flow.commands.values() if row.ended_seq is not None]
        assert sorted(places) == list(range(1, len(places) + 1))
        assert (flow.job.result, flow.job.ended_at) == (flow.root.result, flow.root.ended_at)

    @invariant()
    def sequences_keep_their_order(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            if not command.after or command.state is State.PENDING or command.started_at is None:
                continue
            assert command.parent_id is not None
            siblings = flow.children_of(command.parent_id, command.role, command.undoes)
            assert are_good([before for before in siblings if before.position in command.after])

    @invariant()
    def alternatives_come_after_clean_failures_and_one_succeeds_at_most(self) -> None:
        for row in self.play.flow.commands.values():
            if row.options.choice is None or row.superseded:
                continue
            alternatives = of_choice(self.play.flow.children_of(*row.plan), row.options.choice)
            assert sum(each.result is Result.SUCCEEDED for each in alternatives) <= 1
            before = alternatives[: alternatives.index(row)]
            if row.started_at is not None:
                assert all(
                    each.result is Result.FAILED and (not each.has_leftovers or self._is_asked(row)) for each in before
                )

    @invariant()
    def bounded_groups_keep_their_bound(self) -> None:
        running = Counter(
            (row.plan, row.options.pool, row.options.at_most)
            for row in self.play.flow.commands.values()
            if row.options.at_most is not None and row.state not in (State.PENDING, State.ENDED)
        )
        assert all(many <= (at_most or 0) for (_, _, at_most), many in running.items())

    @invariant()
    def only_clean_failures_are_tried_again_and_not_too_often(self) -> None:
        for row in self.play.flow.commands.values():
            if self._is_asked(row):
                continue  # a person says what is tried again
            attempts = row.options.retry.attempts if row.options.retry else 1
            assert row.attempt <= attempts
            if row.superseded:
                assert (row.result, row.has_leftovers, row.attempt < attempts) == (Result.FAILED, False, True)
            elif row.result is Result.FAILED and row.attempt < attempts:
                assert row.has_leftovers or self._is_part_of_what_is_stopped(row)

    @invariant()
    def success_is_that_of_every_part(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            if command.result not in (Result.SUCCEEDED, Result.FAILED):
                continue
            children = flow.children_of(command.id, Role.FORWARD)
            tasks = flow.tasks_for(command.id, Role.FORWARD)
            good = are_good(children)
            good &= all(row.outcome is Outcome.SUCCEEDED for row in tasks if not row.best_effort)
            if command.result is Result.SUCCEEDED:
                assert good
                assert command.failure_json is None
            else:
                assert command.failure_json is not None
                assert not good or not (children or tasks)

    def _is_asked(self, command: CommandRecord) -> bool:
        return command.parent_id is not None and self.play.flow.commands[command.parent_id].options.asks

    def _is_part_of_what_is_stopped(self, command: CommandRecord) -> bool:
        if command.parent_id is None or command.role is not Role.FORWARD:
            return False
        return self.play.flow.commands[command.parent_id].stopping is not None

    @invariant()
    def in_what_is_stopped_nothing_begins_and_every_task_is_to_stop(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            if command.stopping is None:
                continue
            assert command.started_at is not None
            for child in flow.children_of(command.id, Role.FORWARD):
                assert child.state is not State.PENDING
                assert child.state is not State.EXECUTING or child.stopping is not None or self._is_spared(child)
            for task in flow.tasks_for(command.id, Role.FORWARD):
                assert task.outcome is not None or task.stopping is not None

    def _is_spared(self, command: CommandRecord) -> bool:
        """A cancel lets go on what has reached a point of no return, and that of which only ends are still to come."""
        children = self.play.flow.children_of(command.id, Role.FORWARD)
        if any(row.options.no_return for row in (command, *children)) or any(map(self._is_spared, children)):
            return True
        return all(row.state in (State.COMPENSATING, State.FINALIZING, State.ENDED) for row in children)

    @invariant()
    def what_was_stopped_and_failed_says_so_first(self) -> None:
        for command in self.play.flow.commands.values():
            if command.stopping is None or command.state is State.EXECUTING or command.forced_by is not None:
                continue
            if command.failure_json is None:
                assert command.has_warnings or self._is_part_of_what_is_stopped(command)
            else:
                assert Failure.from_json(command.failure_json).message.startswith(command.stopping)

    @invariant()
    def time_begins_when_a_command_or_a_task_does(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            timeout_s = command.options.timeout_s
            if command.deadline_at is not None:
                assert timeout_s is not None
                assert command.deadline_at == (command.started_at or 0) + timeout_s * 1e6
            else:
                assert timeout_s is None or command.state is not State.EXECUTING
        for task in flow.tasks.values():
            assert task.deadline_at is None or task.deadline_at - task.created_at in (500_000, 60_000_000)

    @invariant()
    def parts_never_reached_have_no_start(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            if command.result is Result.CANCELLED and command.started_at is not None:
                assert command.stopped_by is not None
            elif command.result is Result.CANCELLED:
                is_meant = command.failure_json is not None  # by a cancel of its own
                assert command.after or command.options_json or self._is_part_of_what_is_stopped(command) or is_meant
                step = flow.steps.get(command.id)
                assert step is None or (step.status, step.started_at) == (StepStatus.NOT_STARTED, None)

    @invariant()
    def steps_agree(self) -> None:
        flow = self.play.flow
        for id, step in flow.steps.items():
            over = step.status not in _OPEN_STEPS
            assert over is (step.ended_at is not None)
            if id in flow.commands:
                assert over is (flow.commands[id].state is State.ENDED)
            elif id in flow.tasks:
                assert over is (flow.tasks[id].outcome is not None)
            elif flow.root.state is State.ENDED:
                assert over

    @invariant()
    def what_groups_will_plan_is_shown(self) -> None:
        flow = self.play.flow

        def check(group_id: UUID, outline: Outline) -> None:
            for position, within in outline:
                id = id_of_part(group_id, position)
                assert within or id in flow.steps
                check(id, within)

        for row in flow.commands.values():
            check(row.id, row.options.outline)

    @invariant()
    def uncertain_tasks_leave_something_to_look_at(self) -> None:
        flow = self.play.flow
        wanted = {
            task.id
            for task in flow.tasks.values()
            if task.is_mutating
            and (task.outcome in (Outcome.LOST, Outcome.UNKNOWN) or task.host_result == "cleanFailure")
        }
        assert wanted == {row.task_id for row in flow.leftovers.values() if row.task_id is not None}
        for row in flow.leftovers.values():
            above = flow.commands[row.command_id]
            while True:
                assert above.has_leftovers
                if above.parent_id is None:
                    break
                above = flow.commands[above.parent_id]

    # at the end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        play = self.play
        play.play_out(self.luck)
        flow = play.flow
        for name in dir(self):
            if hasattr(getattr(type(self), name, None), "hypothesis_stateful_invariant"):
                getattr(self, name)()
        assert all(row.state is State.ENDED for row in flow.commands.values())
        assert all(row.state is TaskState.CLEARED for row in flow.tasks.values())
        assert all(row.status not in _OPEN_STEPS for row in flow.steps.values())
        rows = list(play.stored.values())
        assert [row.seq for row in rows if isinstance(row, EventRecord)] == list(range(1, flow.job.events + 1))
        assert not [row for row in rows if isinstance(row, SnapshotRecord)]
        self._check_undone()
        self._check_locks([row for row in rows if isinstance(row, LockRecord)])
        if flow.root.result is Result.SUCCEEDED:
            assert flow.job.progress == 100

    def _check_undone(self) -> None:
        flow = self.play.flow
        for command in flow.commands.values():
            for completed in self.play.completed_below(command):
                if command.forced_by is not None and completed.undo is None:
                    assert "what had completed was not undone" in self._left_by_force(command)
                elif command.result in (Result.FAILED, Result.CANCELLED):
                    parts = [row for row in below(flow, command.id) if row.undoes == completed.id]
                    tasks = [row for row in flow.tasks.values() if row.undoes == completed.id]
                    good = are_good([row for row in parts if not row.superseded])
                    good &= all(row.best_effort or row.outcome is Outcome.SUCCEEDED for row in tasks)
                    assert completed.undo in (Undo.DONE, Undo.FAILED), completed
                    assert good or completed.undo is Undo.FAILED, completed
                    assert not (good and (parts or tasks)) or completed.undo is Undo.DONE, completed
                    assert (completed.undo is Undo.FAILED) is (completed.id in flow.leftovers)

    def _left_by_force(self, command: CommandRecord) -> str:
        """What is said of the command, or of those above it, which were forced to end."""
        flow, said = self.play.flow, ""
        above: CommandRecord | None = command
        while above is not None:
            said += flow.leftovers[above.id].reason if above.id in flow.leftovers else ""
            above = None if above.parent_id is None else flow.commands[above.parent_id]
        return said

    def _check_locks(self, locks: list[LockRecord]) -> None:
        flow = self.play.flow
        feared = {
            ref
            for task in flow.tasks.values()
            if task.is_mutating and task.outcome in (Outcome.LOST, Outcome.UNKNOWN)
            if flow.leftovers[task.id].cleared_at is None
            for ref in task.refs
        }
        assert feared & self.play.locked <= {lock.ref for lock in locks} <= feared
        assert all(lock.leftover_id in flow.leftovers for lock in locks)


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    database=None,
)
TestLivesThoroughly = with_examples(TestLives, 600)
