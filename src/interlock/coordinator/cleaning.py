"""Retention, as people ask for it: what would go, and having it go at once."""

from math import inf
from typing import Any

from interlock.coordinator.auditing import wish_of
from interlock.coordinator.janitor import Round
from interlock.coordinator.schedules import Schedules
from interlock.coordinator.scheduling import alone
from interlock.ids import new_id
from interlock.model.actions import Action
from interlock.model.changes import Change
from interlock.model.refs import Ref
from interlock.model.retention import DAY_S
from interlock.model.text import require_storable
from interlock.model.wishes import action


class Cleaning(Schedules):
    """An open coordinator, as far as ended jobs are removed."""

    async def clean(self, *, by: str = "", limit_s: float = inf) -> Round:
        """Removes at once what retention lets go, for so many seconds at most; what was removed and what is kept.
        Raises Refused while that is being done already. Audited."""
        self._check_works()
        require_storable("who wishes it", by)
        done = Round()
        try:
            await self._supervision.janitor.clean(limit_s, done)
        except BaseException:
            if done.removed or done.signals:
                await self._note(by, done)
            raise
        await self._note(by, done)
        return done

    async def _note(self, by: str, done: Round) -> None:
        if by:
            wish, subject = wish_of(by), Ref[Any]("retention", new_id())
            noted = action(wish, Action.RETENTION_RUN, subject, self._clock.now_us(), after=done.to_json())
            await self._engine.write(lambda snapshot, now: alone([Change(None, noted)], snapshot))

    def would_go(self) -> Round:
        """What retention would remove now, and what it keeps. Reads only."""
        return self._supervision.janitor.would_go()

    def retention(self) -> dict[str, Any]:
        """How many days jobs are kept, and where they are archived."""
        settings, folder = self._settings.retention, self._settings.archive_dir
        return {
            "succeeded_days": settings.succeeded_s / DAY_S,
            "failed_days": settings.failed_s / DAY_S,
            "by_command_days": {name: each / DAY_S for name, each in sorted(settings.by_command.items())},
            "archive": None if folder is None else str(folder),
        }
