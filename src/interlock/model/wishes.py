"""Wishes: what a person wants of a job. Each is an action, with who, why and when."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.model.actions import Action
from interlock.model.errors import Refused
from interlock.model.records import ActionRecord
from interlock.model.refs import Ref
from interlock.model.text import require_storable

#: the longest reason
REASON_MAX = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants something, and why. `target` is a command, a step or a task of the job; None: the job itself."""

    #: of the action that it is
    id: UUID
    by: str
    reason: str = ""
    target: UUID | None = None

    def words(self, what: str) -> str:
        """For an event: what was done, by whom, and why."""
        return f"{what} by {self.by}" + (f": {self.reason}" if self.reason else "")


def checked(wish: Wish) -> Wish:
    """The wish, if it can be kept. Raises Refused."""
    require_storable("the reason", wish.reason)
    require_storable("who wishes it", wish.by)
    if not wish.by:
        raise Refused("say who wishes it: an action without a name is nobody's")
    if len(wish.reason) > REASON_MAX:
        raise Refused(f"the reason has {len(wish.reason)} letters; at most {REASON_MAX}")
    return wish


def action(
    wish: Wish,
    what: Action,
    subject: Ref[Any],
    now: int,
    correlation_id: str | None,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> ActionRecord:
    """The wish as it is recorded: of what was and what is, only what differs."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]

    def text(values: Mapping[str, Any]) -> str | None:
        shown = {name: values[name] for name in changed if values.get(name) is not None}
        return json.dumps(shown, ensure_ascii=False, sort_keys=True) if shown else None

    return ActionRecord(
        wish.id, now, wish.by, what, subject, correlation_id, wish.reason or None, text(before), text(after)
    )
