"""The limits that are configured, kept in memory: loaded when an engine starts, changed by the commit that sets one.

What has no limit costs nothing. Safe to read from any thread: `now` is replaced as a whole, by the writer.
"""

from collections.abc import Iterable, Mapping

from interlock.model.changes import Change
from interlock.model.limits import LimitRecord


class ConfiguredLimits:
    """By key. Whoever decides notes the mapping that it saw; the writer compares it with the present one."""

    def __init__(self, limits: Iterable[LimitRecord] = ()) -> None:
        self.now: Mapping[str, LimitRecord] = {each.key: each for each in limits}

    def stored(self, changes: Iterable[Change]) -> None:
        """These changes are committed."""
        changes = [change for change in changes if isinstance(change.new or change.old, LimitRecord)]
        if not changes:
            return
        now = dict(self.now)
        for change in changes:
            if isinstance(change.new, LimitRecord):
                now[change.new.key] = change.new
            elif isinstance(change.old, LimitRecord):
                del now[change.old.key]
        self.now = now
