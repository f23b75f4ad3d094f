"""Several commands in one call: all accepted in one transaction, each its job; all are validated before any runs."""

from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

from interlock.coordinator.accepting import Repeated, Submission
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.refusing import was_refused
from interlock.coordinator.runner import Runner
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.calls import AfterPolicy, CallOrder
from interlock.model.failure import Cause, Failure
from interlock.model.replacing import replace


class RepeatedCall(Repeated):
    """The same call came before: the ids of its jobs."""

    def __init__(self, job_ids: Sequence[UUID]) -> None:
        super().__init__(job_ids[0])
        self.job_ids = tuple(job_ids)


def key_of(idempotency_key: str | None, number: int) -> str | None:
    """The key of one command of a call."""
    return None if idempotency_key is None else f"{idempotency_key}/{number}"


def in_order(submissions: Sequence[Submission], order: CallOrder) -> list[Submission]:
    """As parts of one call: each after the one before, where they are to follow one another."""
    call = f" of {len(submissions)} {order}"
    submissions = [replace(each, call=call) for each in submissions]
    if order is CallOrder.PARALLEL:
        return submissions
    policy = AfterPolicy.ENDED if order is CallOrder.ONE_BY_ONE else AfterPolicy.SUCCEEDED
    followed = [replace(each, after=(before.flow_id,), after_policy=policy) for before, each in pairwise(submissions)]
    return [submissions[0], *followed]


def accept(world: World, submissions: Sequence[Submission], snapshot: Snapshot, now: int) -> ChangeSet:
    """The rows of all jobs. Where one is refused none will run: that one has failed, the others never start.

    Raises RepeatedCall, and what accepting one of them raises.
    """
    runners = [Runner(world, Flow(each.flow_id), snapshot, now) for each in submissions]
    refused: dict[int, list[str]] = {}
    repeated: list[UUID] = []
    for number, (runner, each) in enumerate(zip(runners, submissions, strict=True)):
        try:
            reasons = runner.accept_to_wait(each)
        except Repeated as known:
            repeated.append(known.job_id)
            continue
        if reasons:
            refused[number] = reasons
    if repeated:
        raise RepeatedCall(repeated)
    if refused:
        _refuse(runners, refused)
    return _together(runners, snapshot)


def refusals(flows: Sequence[Flow]) -> list[str]:
    """Why the call was refused: all reasons together. None: it was not."""
    failures = [failure for flow in flows if (failure := was_refused(flow)) is not None]
    return [cause.message for failure in failures for cause in failure.causes]


def _refuse(runners: Sequence[Runner], refused: dict[int, list[str]]) -> None:
    names = ", ".join(runners[number].flow.root.title for number in refused)
    for number, runner in enumerate(runners):
        root = runner.flow.root
        if number in refused:
            causes = [Cause(reason, (root.title,), tuple(map(str, root.refs))) for reason in refused[number]]
            runner.never_start(Failure.of("; ".join(refused[number]), causes), refused=True)
        else:
            words = f"others of the same call were refused ({names}), so none was run"
            runner.never_start(Failure.of(words), refused=False)


def _together(runners: Sequence[Runner], snapshot: Snapshot) -> ChangeSet:
    """One change set of all flows; each goes on by itself after the commit."""
    whole = ChangeSet(runners[0].flow, [], set(), snapshot.reads, snapshot.link_reads, snapshot.lock_wants)
    for runner in runners:
        made = runner.change_set()
        assert made is not None  # an accepted command writes at least its job
        whole.changes += made.changes
        whole.bumps |= made.bumps
        whole.born.append(runner.flow)
    return whole
