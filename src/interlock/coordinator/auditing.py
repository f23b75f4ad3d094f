"""What a person did becomes a row of the audit chain, in the transaction in which it was done."""

from typing import Any

from interlock.core.flow import Flow
from interlock.ids import new_id
from interlock.model.actions import Action, job_ref
from interlock.model.refs import Ref
from interlock.model.wishes import NOTHING_SHOWN, Shown, Wish, action


def note(
    flow: Flow,
    wish: Wish,
    what: Action,
    now: int,
    *,
    subject: Ref[Any] | None = None,
    before: Shown = NOTHING_SHOWN,
    after: Shown = NOTHING_SHOWN,
) -> None:
    """Adds an action to the flow's change set; its subject is the flow's job where none is named. Programs that
    embed the coordinator and name nobody (`by` is empty) are no persons: nothing is added."""
    if wish.by:
        correlation_id = flow.job.correlation_id if flow.jobs else None
        flow.add_action(action(wish, what, subject or job_ref(flow.id), now, correlation_id, before, after))


def wish_of(by: str, reason: str = "") -> Wish:
    """What somebody does of whom nothing is asked but a name."""
    return Wish(new_id(), by, reason)
