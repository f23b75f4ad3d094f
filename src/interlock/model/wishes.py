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
from interlock.model.text import legible, require_storable

#: JSON that `before` and `after` are made of
Shown = Mapping[str, Any]
NOTHING_SHOWN: Shown = {}
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
    correlation_id: str | None = None,
    before: Shown = NOTHING_SHOWN,
    after: Shown = NOTHING_SHOWN,
) -> ActionRecord:
    """The wish as it is recorded: of what was and what is, only what differs."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]

    def text(values: Shown) -> str | None:
        shown = {name: values[name] for name in changed if values.get(name) is not None}
        return json.dumps(shown, sort_keys=True) if shown else None

    return ActionRecord(
        wish.id, now, wish.by, what, subject, correlation_id, legible(wish.reason) or None, text(before), text(after)
    )
