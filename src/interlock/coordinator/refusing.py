"""Refusals of parts and of flows, as failures."""

from collections.abc import Sequence

from interlock.core.flow import Flow
from interlock.model.failure import Cause, Failure
from interlock.model.records import CommandRecord
from interlock.model.states import Result


def must_begin(command: CommandRecord) -> bool:
    """Whether its refusal is one of the whole plan: no other part may do in its place."""
    options = command.options
    return not command.best_effort and options.choice is None and options.retry is None


def refusal_of(command: CommandRecord, reasons: Sequence[str]) -> Failure:
    causes = [Cause(reason, (command.title,), tuple(map(str, command.refs))) for reason in reasons]
    return Failure.of("; ".join(reasons), causes)


def was_refused(flow: Flow) -> Failure | None:
    """The refusal of a flow command that never started, or None."""
    root = flow.root
    if root.result is Result.FAILED and root.started_at is None and root.failure_json is not None:
        return Failure.from_json(root.failure_json)
    return None
