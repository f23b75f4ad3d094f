"""The timer of schedules: begins what is due. The rows decide; a timer, or who changed one, only hurries the look.

A run's job and its schedule's next time are written in one transaction, so that no crash begins it twice or never.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from interlock.catalog import Unreadable
from interlock.clock import Clock
from interlock.coordinator import batches
from interlock.coordinator.accepting import submission
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.engine import Engine
from interlock.coordinator.snapshot import Snapshot
from interlock.core import scheduling
from interlock.core.flow import Flow
from interlock.ids import new_id
from interlock.model.changes import Change
from interlock.model.errors import InterlockError, Refused
from interlock.model.replacing import replace
from interlock.model.schedules import ScheduleRecord
from interlock.model.states import State
from interlock.store.database import Database
from interlock.store.queries import schedules

#: the wall clock may jump, so schedules are looked at so often whatever is said to be due; and no more often than this
LOOK_S_MAX, LOOK_S_MIN = 60.0, 0.05
#: how many are begun in one look
DUE_MAX = 100

_log = structlog.get_logger(__name__)


class Scheduling:
    """Runs beside an engine, from `start` to `stop`."""

    def __init__(self, database: Database, engine: Engine, world: World, clock: Clock) -> None:
        self._database = database
        self._engine = engine
        self._world = world
        self._clock = clock
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it; what it has handed to the engine is the engine's."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Something may be due, or due earlier."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            pause_s = LOOK_S_MAX
            try:
                pause_s = await self._look()
            except Exception as error:  # the engine stops, or a look failed: there is another
                _log.warning("schedules_not_looked_at", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()

    async def _look(self) -> float:
        """Begins what is due; how many seconds until the next look."""
        due, following = await to_the_end(asyncio.to_thread(self._due))  # it has a connection
        failed = 0
        for id in due:
            try:
                await self._engine.write(lambda snapshot, now, id=id: begin(self._world, id, snapshot, now))  # type: ignore[misc]
            except InterlockError as error:
                failed += 1
                _log.error("schedule_not_begun", schedule=str(id), reason=str(error))
        if len(due) == DUE_MAX and failed < DUE_MAX:
            return LOOK_S_MIN
        left_s = LOOK_S_MAX if following is None else (following - self._clock.now_us()) / 1e6
        return min(max(left_s, LOOK_S_MIN), LOOK_S_MAX)

    def _due(self) -> tuple[list[UUID], int | None]:
        now = self._clock.now_us()
        with self._database.reading() as connection:
            return schedules.due(connection, now, DUE_MAX), schedules.first_after(connection, now)


def begin(world: World, id: UUID, snapshot: Snapshot, now: int) -> ChangeSet | None:
    """The run that is due, and the schedule's next time; or why it is skipped. None: nothing is due any more."""
    schedule = snapshot.schedule(id)
    if schedule is None or not scheduling.is_due(schedule, now):
        return None
    reason = scheduling.why_not(schedule, now, is_running=_is_running(schedule, snapshot))
    made: ChangeSet | None = None
    if reason is None:
        try:
            made = _job(world, schedule, snapshot, now)
        except (Refused, Unreadable) as error:  # an entity is gone, or the command's class
            reason = f"no job could be made of it: {error}"
    if made is None:
        after = scheduling.skipped(schedule, now, reason or "")
        _log.warning("schedule_skipped", schedule=str(id), name=schedule.name, reason=reason)
        return alone([Change(schedule, after)], snapshot)
    begun = replace(scheduling.advanced(schedule, now), last_job_id=made.flow.id, runs=schedule.runs + 1)
    made.changes.append(Change(schedule, begun))
    made.needs_writer = True
    return made


def alone(changes: list[Change], snapshot: Snapshot) -> ChangeSet:
    """Changes of schedules are decided and written one after the other."""
    return ChangeSet(Flow(new_id()), changes, set(), snapshot.reads, snapshot.link_reads, {}, needs_writer=True)


def _is_running(schedule: ScheduleRecord, snapshot: Snapshot) -> bool:
    root = None if schedule.last_job_id is None else snapshot.root_of(schedule.last_job_id)
    return root is not None and root.state is not State.ENDED


def _job(world: World, schedule: ScheduleRecord, snapshot: Snapshot, now: int) -> ChangeSet:
    """The rows of the job that begins; one that is refused has failed."""
    catalog = world.catalog
    command = catalog.read_command(schedule.command, schedule.version, schedule.parameters_json, world.keyring)
    wanted = submission(
        catalog, command, correlation_id=schedule.correlation_id, user=schedule.user, priority=schedule.priority
    )
    return batches.accept(world, [replace(wanted, schedule_id=schedule.id)], snapshot, now)
