"""What a person did becomes a row of the audit chain, in the transaction in which it was done."""

import json
from collections.abc import Mapping
from typing import Any

from interlock.core.flow import Flow
from interlock.ids import new_id
from interlock.model.actions import Action, job_ref
from interlock.model.records import ActionRecord
from interlock.model.refs import Ref
from interlock.model.text import legible

#: JSON that `before` and `after` are made of
Shown = Mapping[str, Any]


def note(
    flow: Flow,
    what: Action,
    by: str,
    now: int,
    *,
    subject: Ref[Any] | None = None,
    reason: str | None = None,
    before: Shown | None = None,
    after: Shown | None = None,
) -> None:
    """Adds an action to the flow's change set; its subject is the flow's job where none is named. Programs that
    embed the coordinator and name nobody (`by` is empty) are no persons: nothing is added."""
    if by:
        correlation_id = flow.job.correlation_id if flow.jobs else None
        about = subject or job_ref(flow.id)
        flow.add_action(action(what, by, now, about, correlation_id, reason=reason, before=before, after=after))


def action(
    what: Action,
    by: str,
    now: int,
    subject: Ref[Any],
    correlation_id: str | None = None,
    *,
    reason: str | None = None,
    before: Shown | None = None,
    after: Shown | None = None,
) -> ActionRecord:
    """The record of an action."""
    return ActionRecord(
        new_id(), now, by, what, subject, correlation_id, None if reason is None else legible(reason),
        _text(before), _text(after),
    )  # fmt: skip


def _text(shown: Shown | None) -> str | None:
    return None if shown is None else json.dumps(shown, sort_keys=True)
