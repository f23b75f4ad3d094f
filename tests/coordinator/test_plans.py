"""Plans at work: sequences and their undoing, best effort, nesting, phases that raise, large plans."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest

from interlock import (
    NOTHING,
    Command,
    CommandFailed,
    Failure,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Refused,
    Result,
    Tx,
    exclusive,
    local,
    parallel,
    part,
    refuse,
    sequence,
)
from interlock.model.records import Undo
from interlock.model.states import State, StepStatus
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    Status,
    Work,
    add_disk,
    commands,
    disk,
    events,
    failure_of,
    job,
    leftovers,
    opened,
    steps,
    tasks,
)
from tests.databases import Scratch

#: what the phases below did, in order
calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


class Stage(Command[None], name="stage"):
    """One of a sequence; `fails` says in which phase."""

    label: str
    fails: str = ""
    undo_function: str = ""

    def execute(self, db: Tx) -> Plan:
        calls.append(f"execute {self.label}")
        if self.fails == "execute":
            raise RuntimeError(f"{self.label} cannot")
        return part(local("broken" if self.fails == "task" else "noop"))

    def compensate(self, db: Tx) -> Plan:
        calls.append(f"undo {self.label}")
        return part(local(self.undo_function)) if self.undo_function else NOTHING


class Staged(Command[None], name="staged"):
    """Stages one after the other."""

    stages: tuple[str, ...]
    failing: str = ""
    fails: str = "task"
    best_effort: bool = False
    undo_function: str = ""

    def execute(self, db: Tx) -> Plan:
        return sequence(
            *(
                part(
                    Stage(
                        label=each,
                        fails=self.fails if each == self.failing else "",
                        undo_function=self.undo_function,
                    ),
                    step=each.upper(),
                    best_effort=self.best_effort and each == self.failing,
                )
                for each in self.stages
            )
        )

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        calls.append("ended with failure")
        return NOTHING


@pytest.mark.hard_case(21)
async def test_a_failing_stage_undoes_the_completed_ones_in_reverse_and_never_starts_the_later_ones(
    scratch: Scratch,
) -> None:
    async with opened(scratch, Stage, Staged) as coordinator:
        submitted = await coordinator.submit(Staged(stages=("a", "b", "c", "d"), failing="c"))
        failure = await failure_of(submitted)
        assert calls == ["execute a", "execute b", "execute c", "undo b", "undo a", "ended with failure"]
        assert failure.causes[0].message == "broken failed on this process: ValueError: the disk is broken"
        assert failure.causes[0].path == ("staged", "stage")
        _, a, b, c, d = commands(coordinator, submitted.id)
        assert [row.result for row in (a, b, c, d)] == [
            Result.SUCCEEDED, Result.SUCCEEDED, Result.FAILED, Result.CANCELLED,
        ]  # fmt: skip
        assert [row.undo for row in (a, b, c, d)] == [Undo.DONE, Undo.DONE, None, None]
        assert d.started_at is None
        shown = {step.name: (step.status, step.started_at is None) for step in steps(coordinator, submitted.id)}
        assert (shown["A"], shown["C"], shown["D"]) == (
            (StepStatus.FINISHED, False), (StepStatus.FAILED, False), (StepStatus.NOT_STARTED, True),
        )  # fmt: skip


@pytest.mark.hard_case(20)
async def test_an_undo_that_fails_is_a_leftover_and_the_others_go_on(scratch: Scratch) -> None:
    async with opened(scratch, Stage, Staged) as coordinator:
        submitted = await coordinator.submit(Staged(stages=("a", "b", "c"), failing="c", undo_function="broken"))
        await failure_of(submitted)
        assert calls == ["execute a", "execute b", "execute c", "undo b", "undo a", "ended with failure"]
        root, a, b, _ = commands(coordinator, submitted.id)
        assert (a.undo, b.undo, root.has_leftovers) == (Undo.FAILED, Undo.FAILED, True)
        assert {row.command_id for row in leftovers(coordinator, submitted.id)} == {a.id, b.id}


async def test_best_effort_parts_may_fail(scratch: Scratch) -> None:
    async with opened(scratch, Stage, Staged) as coordinator:
        submitted = await coordinator.submit(Staged(stages=("a", "b", "c"), failing="b", best_effort=True))
        await submitted.result(WAIT_S)
        assert calls == ["execute a", "execute b", "execute c"]


@pytest.mark.hard_case(13)
async def test_a_phase_that_raises_fails_its_own_command_and_others_go_on(scratch: Scratch) -> None:
    class Beside(Command[list[str]], name="beside"):
        def execute(self, db: Tx) -> Plan:
            return parallel(
                part(Stage(label="good")), part(Stage(label="bad", fails="execute"), best_effort=True),
                part(Stage(label="fine")),
            )  # fmt: skip

        def end_successfully(self, db: Tx) -> list[str]:
            return [f"{child.command.label} {child.result}" for child in db.children(Stage)]

    async with opened(scratch, Stage, Beside) as coordinator:
        submitted = await coordinator.submit(Beside())
        assert await submitted.result(WAIT_S) == ["good SUCCEEDED", "bad FAILED", "fine SUCCEEDED"]
        bad = commands(coordinator, submitted.id)[2]
        assert "execute of stage raised RuntimeError: bad cannot" in (bad.failure_json or "")


class Raise(Command[None], name="raise"):
    """Raises, in the phase that is named, what no phase should."""

    phase: str

    def _raise(self, phase: str) -> None:
        if phase == self.phase:
            raise SystemExit(f"{phase} gives up")

    def validate(self, db: Reader) -> Refusals:
        self._raise("validate")
        return ()

    def execute(self, db: Tx) -> Plan:
        self._raise("execute")
        return part(local("noop"))


@pytest.mark.parametrize("phase", ["validate", "execute"])
async def test_a_phase_that_wants_to_end_the_process_fails_its_command_only(scratch: Scratch, phase: str) -> None:
    async with opened(scratch, Raise) as coordinator:
        for _ in range(4):  # more often than there are workers
            with pytest.raises((CommandFailed, Refused), match=f"{phase} gives up"):
                await (await coordinator.submit(Raise(phase=phase))).result(WAIT_S)
        await add_disk(coordinator)


class Down(Command[int], name="down"):
    """A child in a child in a child; returns how deep it went."""

    depth: int
    fails: bool = False

    def execute(self, db: Tx) -> Plan:
        if self.depth == 0:
            return part(local("broken" if self.fails else "noop"))
        return part(Down(depth=self.depth - 1, fails=self.fails), step=f"LEVEL {self.depth}")

    def end_successfully(self, db: Tx) -> int:
        children = db.children(Down)
        return 1 + children[0].value if children else 0


async def test_children_nest(scratch: Scratch) -> None:
    async with opened(scratch, Down) as coordinator:
        submitted = await coordinator.submit(Down(depth=5))
        assert await submitted.result(WAIT_S) == 5
        assert [row.depth for row in commands(coordinator, submitted.id)] == [0, 1, 2, 3, 4, 5]
        failure = await failure_of(await coordinator.submit(Down(depth=5, fails=True)))
        assert failure.causes[0].path == ("down",) * 6


async def test_a_plan_that_nests_without_end_fails_with_the_bound(scratch: Scratch) -> None:
    async with opened(scratch, Down) as coordinator:
        failure = await failure_of(await coordinator.submit(Down(depth=60)))
        assert "down is nested 50 deep; at most 50" in failure.causes[0].message


class Part(Command[None], name="part"):
    """A part that may be refused."""

    disk: Ref[Disk]
    reason: str = ""

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def validate(self, db: Reader) -> Refusals:
        if self.reason:
            yield refuse(self.reason)


class Parent(Command[None], name="parent"):
    """Writes, then plans parts of which some are refused."""

    disks: tuple[Ref[Disk], ...]
    reasons: tuple[str, ...]
    best_effort: bool = False

    def execute(self, db: Tx) -> Plan:
        for ref in self.disks:
            db.put(replace(db.get(ref), status=Status.LOCKED))
        return parallel(
            *(
                part(Part(disk=ref, reason=reason), best_effort=self.best_effort)
                for ref, reason in zip(self.disks, self.reasons, strict=True)
            )
        )


async def test_parts_refused_at_planning_take_back_what_their_parent_wrote(scratch: Scratch) -> None:
    async with opened(scratch, Part, Parent) as coordinator:
        refs = tuple([await add_disk(coordinator, f"d{n}") for n in range(3)])
        submitted = await coordinator.submit(Parent(disks=refs, reasons=("too small", "", "too old")))
        failure = await failure_of(submitted)
        assert [cause.message for cause in failure.causes] == ["too small", "too old"]
        assert {disk(coordinator, ref).status for ref in refs} == {Status.OK}
        [root] = commands(coordinator, submitted.id)
        assert (root.result, root.open) == (Result.FAILED, 0)


async def test_refused_parts_that_are_best_effort_leave_the_others_alone(scratch: Scratch) -> None:
    async with opened(scratch, Part, Parent) as coordinator:
        refs = tuple([await add_disk(coordinator, f"d{n}") for n in range(2)])
        submitted = await coordinator.submit(Parent(disks=refs, reasons=("too small", ""), best_effort=True))
        await submitted.result(WAIT_S)
        _, refused, done = commands(coordinator, submitted.id)
        assert (refused.result, refused.started_at, done.result) == (Result.FAILED, None, Result.SUCCEEDED)


async def test_an_unknown_function_is_a_refused_task(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        ref = await add_disk(coordinator)
        failure = await failure_of(await coordinator.submit(Work(disk=ref, function="nobody")))
        assert "there is no local function 'nobody'" in failure.message
        assert disk(coordinator, ref).status is Status.OK  # restored by the default end phase


# large plans ----------------------------------------------------------------------------------------


class Small(Command[None], name="small"):
    """Nearly nothing."""

    number: int

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))


class Large(Command[int], name="large"):
    """Many children, or many tasks."""

    children: int = 0
    tasks: int = 0
    executions: ClassVar[int] = 0

    def execute(self, db: Tx) -> Plan:
        return parallel(
            *(part(Small(number=n)) for n in range(self.children)), *(part(local("noop")) for _ in range(self.tasks))
        )

    def end_successfully(self, db: Tx) -> int:
        return len(db.children(Small)) + len(db.tasks(self))


@pytest.mark.hard_case(30)
@pytest.mark.parametrize("scratch", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
async def test_a_plan_of_3000_parts_ends_in_several_transactions(scratch: Scratch) -> None:
    async with opened(scratch, Small, Large) as coordinator:
        before = coordinator.commits
        submitted = await coordinator.submit(Large(children=3_000))
        [root, *children] = commands(coordinator, submitted.id)
        assert len(children) == 3_000  # named before anything is sent
        assert root.open == sum(child.state is not State.ENDED for child in children)
        assert await submitted.result(WAIT_S * 3) == 3_000
        assert coordinator.commits - before >= 3
        assert commands(coordinator, submitted.id)[0].open == 0


@pytest.mark.hard_case(30)
@pytest.mark.parametrize(
    ("scratch", "number"),
    [
        ("sqlite", 2_500),
        pytest.param("sqlite", 10_000, marks=pytest.mark.long),
        pytest.param("postgresql", 10_000, marks=pytest.mark.long),
    ],
    indirect=["scratch"],
)
async def test_a_plan_of_thousands_of_tasks_ends(scratch: Scratch, number: int) -> None:
    async with opened(scratch, Small, Large) as coordinator:
        submitted = await coordinator.submit(Large(tasks=number))
        assert await submitted.result(WAIT_S * 3) == number


async def test_events_have_no_gap_and_tell_the_end_last(scratch: Scratch) -> None:
    async with opened(scratch, Stage, Staged) as coordinator:
        submitted = await coordinator.submit(Staged(stages=("a", "b"), failing="b"))
        await failure_of(submitted)
        told = events(coordinator, submitted.id)
        assert [row.seq for row in told] == list(range(1, len(told) + 1))
        assert (told[0].kind, told[-1].kind) == ("job_accepted", "job_ended")
        assert job(coordinator, submitted.id).events == len(told)


@pytest.mark.hard_case(13)
async def test_work_goes_on_beside_a_flow_that_waits(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        waiting = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        await add_disk(coordinator, "other")
        [task] = tasks(coordinator, waiting.id)
        assert task.outcome is None
        gate.open.set()
