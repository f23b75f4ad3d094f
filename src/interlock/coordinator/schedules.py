"""Schedules, as people make, change, pause and remove them. Each is one transaction, with a record of who and why."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from interlock.command import Command
from interlock.coordinator.accepting import check_refs, submission, unique_refs
from interlock.coordinator.auditing import wish_of
from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.limit_setting import LimitSetting
from interlock.coordinator.scheduling import alone
from interlock.coordinator.snapshot import Snapshot
from interlock.core import scheduling
from interlock.model.actions import Action
from interlock.model.calendar import check_cron, moment_of, runs_after, zone_of
from interlock.model.changes import Change
from interlock.model.errors import InvalidInput, Missing, NameTaken, Refused
from interlock.model.locks import PRIORITY_MAX
from interlock.model.records import ActionRecord
from interlock.model.replacing import replace
from interlock.model.schedules import LATE_S, LATE_S_MAX, Missed, ScheduleRecord, schedule_ref
from interlock.model.text import require_storable
from interlock.model.wishes import NOTHING_SHOWN, Shown, Wish, action, checked
from interlock.store.queries import schedules

#: the longest name, and how many schedules there may be
NAME_MAX, SCHEDULES_MAX = 200, 10_000

Changed = Callable[[ScheduleRecord, int], ScheduleRecord | None]


class Schedules(LimitSetting):
    """An open coordinator, as far as its schedules are concerned. A schedule is named by its name or its id."""

    async def schedule(
        self,
        name: str,
        command: Command[Any],
        *,
        cron: str | None = None,
        at: str | None = None,
        zone: str = "UTC",
        missed: Missed = Missed.RUN,
        late_s_max: int = LATE_S,
        priority: int = 0,
        user: str = "",
        correlation_id: str | None = None,
    ) -> UUID:
        """Has a command submitted once, `at` a moment (ISO 8601, of that zone where it names none), or again and again
        (`cron`, five fields, by the clocks of that IANA zone): durable when this returns, its id.

        A run that nobody was there to begin in time begins later, once, if `missed` says so and it is no more than
        `late_s_max` late. No run begins while the one before has not ended. Raises Refused (InvalidInput, Missing,
        NameTaken) with nothing done. Audited.
        """
        self._check_works()
        wanted = submission(self.catalog, command, correlation_id=correlation_id, user=user, priority=priority)
        kind, now = command.command_type, self._clock.now_us()
        row = ScheduleRecord(
            id=wanted.flow_id,
            name=_checked_name(name),
            command=kind.name,
            version=kind.version,
            parameters_json=self.catalog.write_command(wanted.command, self._keyring),
            shown_json=self.catalog.write_command(wanted.command, None),
            user=wanted.user,
            correlation_id=wanted.correlation_id,
            created_at=now,
            updated_at=now,
            cron=cron,
            zone=zone,
            missed=missed,
            late_s_max=_checked_late(late_s_max),
            priority=priority,
        )
        row = _timed(row, at, now)

        def make(snapshot: Snapshot, now: int) -> ChangeSet:
            if snapshot.schedule_named(name) is not None:
                raise NameTaken(f"there is already a schedule named {name!r}; choose another name, or change that one")
            if snapshot.schedules_count() >= SCHEDULES_MAX:
                raise Refused(f"there are {SCHEDULES_MAX} schedules already; remove one first")
            check_refs(snapshot, command, unique_refs(command))
            changes = [Change(None, row)]
            if user:
                after = {"name": name, "command": row.command, "parameters": json.loads(row.shown_json), **timing(row)}
                changes.append(Change(None, _noted(wish_of(user), Action.SCHEDULE_CREATE, row, now, after=after)))
            return alone(changes, snapshot)

        await self._write(make)
        return row.id

    async def schedule_input(
        self, name: str, command: str, parameters: Mapping[str, Any], *, version: int | None = None, **options: Any
    ) -> UUID:
        """As `schedule`, from what a person wrote: names are resolved wherever a ref is asked for."""
        return await self.schedule(name, self._from_input(command, parameters, version), **options)

    async def change_schedule(
        self,
        which: str,
        *,
        by: str,
        reason: str = "",
        cron: str | None = None,
        at: str | None = None,
        zone: str | None = None,
        missed: Missed | None = None,
        late_s_max: int | None = None,
        priority: int | None = None,
    ) -> None:
        """When it is due, and how; what is not named stays. Its next time is counted anew. Audited."""
        if priority is not None and abs(priority) > PRIORITY_MAX:
            raise InvalidInput(f"the priority {priority} is not between -{PRIORITY_MAX} and {PRIORITY_MAX}")

        def change(row: ScheduleRecord, now: int) -> ScheduleRecord:
            changed = replace(
                row, zone=zone or row.zone, missed=missed or row.missed, updated_at=now,
                late_s_max=row.late_s_max if late_s_max is None else _checked_late(late_s_max),
                priority=row.priority if priority is None else priority,
            )  # fmt: skip
            if cron is None and at is None and zone is None:
                return changed
            new_cron = None if at is not None and cron is None else cron or row.cron
            if new_cron is None and at is None:
                raise InvalidInput(f"schedule {row.name} is due once; give the moment anew to name another zone")
            return _timed(replace(changed, cron=new_cron), at, now)

        await self._change(which, Action.SCHEDULE_CHANGE, by, reason, change)

    async def pause_schedule(self, which: str, *, by: str, reason: str = "") -> None:
        """Nothing of it begins until it is resumed. Raises Missing, Refused where it is paused. Audited."""

        def pause(row: ScheduleRecord, now: int) -> ScheduleRecord:
            if row.paused_by is not None:
                raise Refused(f"schedule {row.name} is paused already, by {row.paused_by}")
            return replace(row, paused_by=by, updated_at=now)

        await self._change(which, Action.SCHEDULE_PAUSE, by, reason, pause)

    async def resume_schedule(self, which: str, *, by: str, reason: str = "") -> None:
        """It goes on with what is due from now; what it would have begun meanwhile is not made up for. Raises Missing,
        Refused where it is not paused. Audited."""

        def resume(row: ScheduleRecord, now: int) -> ScheduleRecord:
            if row.paused_by is None:
                raise Refused(f"schedule {row.name} is not paused")
            return scheduling.resumed(row, now)

        await self._change(which, Action.SCHEDULE_RESUME, by, reason, resume)

    async def remove_schedule(self, which: str, *, by: str, reason: str = "") -> None:
        """Nothing of it begins any more; jobs that it began go on. Raises Missing. Audited."""
        await self._change(which, Action.SCHEDULE_REMOVE, by, reason, lambda row, now: None)

    def schedules(self) -> list[ScheduleRecord]:
        """All of them, by name."""
        with self.reading() as connection:
            return schedules.all_by_name(connection)

    async def _change(self, which: str, what: Action, by: str, reason: str, change: Changed) -> None:
        self._check_works()
        wish = checked(wish_of(by, reason))
        require_storable("the schedule's name", which)

        def make(snapshot: Snapshot, now: int) -> ChangeSet:
            row = _found(which, snapshot)
            after = change(row, now)
            shown = NOTHING_SHOWN if after is None else timing(after)
            noted = _noted(wish, what, row, now, before={"name": row.name, **timing(row)}, after=shown)
            return alone([Change(row, after), Change(None, noted)], snapshot)

        await self._write(make)

    async def _write(self, make: Callable[[Snapshot, int], ChangeSet]) -> None:
        await self._in_turn(lambda: self._engine.write(make))
        self._supervision.scheduling.wake()


def timing(row: ScheduleRecord) -> dict[str, Any]:
    """When it is due, and how, for the audit chain."""
    return {
        "cron": row.cron, "zone": row.zone, "next_at": row.next_at, "missed": row.missed,
        "late_s_max": row.late_s_max, "priority": row.priority, "paused_by": row.paused_by,
    }  # fmt: skip


def _noted(
    wish: Wish, what: Action, row: ScheduleRecord, now: int, before: Shown = NOTHING_SHOWN, *, after: Shown
) -> ActionRecord:
    return action(wish, what, schedule_ref(row.id), now, row.correlation_id, before, after)


def _found(which: str, snapshot: Snapshot) -> ScheduleRecord:
    row = snapshot.schedule_named(which)
    if row is None:
        try:
            row = snapshot.schedule(UUID(which))
        except ValueError:
            row = None
    if row is None:
        raise Missing(f"there is no schedule {which!r}; `interlock schedule list` lists them")
    return row


def _timed(row: ScheduleRecord, at: str | None, now: int) -> ScheduleRecord:
    """With its next time. Raises InvalidInput."""
    zone_of(row.zone)
    if (row.cron is None) == (at is None):
        raise InvalidInput("say when it is due: either once (at) or again and again (cron)")
    if row.cron is not None:
        check_cron(row.cron)
        following = next(runs_after(row.cron, row.zone, now), None)
        if following is None:
            raise InvalidInput(f"the cron expression {row.cron!r} names a time that never comes")
        return replace(row, next_at=following)
    moment = moment_of(at or "", row.zone)
    if moment <= now:
        raise InvalidInput(f"{at} has passed already; submit the command itself, or name a later moment")
    return replace(row, next_at=moment)


def _checked_name(name: str) -> str:
    require_storable("the name", name)
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or "/" in name or name != name.strip():
        raise InvalidInput(
            f"the name {name[:NAME_MAX]!r}; use 1 to {NAME_MAX} printable characters without '/', "
            "and no spaces at either end"
        )
    try:
        UUID(name)
    except ValueError:
        return name
    raise InvalidInput(f"the name {name!r} would be taken for an id; choose another")


def _checked_late(late_s_max: int) -> int:
    if not 0 <= late_s_max <= LATE_S_MAX:
        raise InvalidInput(f"a missed run may begin {late_s_max} s late; it must be 0 to {LATE_S_MAX}")
    return late_s_max
