"""What is written from outside any flow: signals, and what monitors are told."""

import json
from typing import Any, TypeVar
from uuid import UUID

import structlog

from interlock.command import Child, Command, TaskResult
from interlock.coordinator import auditing
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.linking import link_changes
from interlock.coordinator.phase_db import PhaseDb
from interlock.coordinator.runner import RAISED
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.actions import Action, job_ref
from interlock.model.errors import Bug, KeyReused, Missing, Refused
from interlock.model.records import CommandRecord, EntityRecord, SignalRecord
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.model.states import State
from interlock.model.text import require_storable
from interlock.model.waits import data_of, require_kind

C = TypeVar("C", bound=Command[Any])

_log = structlog.get_logger(__name__)


def checked_signal(
    id: UUID, kind: str, about: Ref[Any] | None, job_id: UUID | None, data: Any, by: str, now: int
) -> SignalRecord:
    """A signal as far as it can be checked without the database. Raises InvalidInput."""
    require_kind(kind)
    require_storable("who sends a signal", by)
    return SignalRecord(id, kind, about, job_id, data_of(kind, data), by, now)


def signal(wanted: SignalRecord, snapshot: Snapshot) -> ChangeSet | None:
    """The signal's row; None where it was accepted before. Raises Missing, KeyReused where that was another one, and
    Refused for a job that has ended."""
    known = snapshot.signal(wanted.id)
    if known is not None:
        if replace(known, by=wanted.by, accepted_at=wanted.accepted_at, taken_by=None) != wanted:
            raise KeyReused(f"signal {wanted.id} was another, a {known.kind}; take a new id")
        return None
    if wanted.about is not None and snapshot.entity(wanted.about) is None:
        raise Missing(f"signal {wanted.kind}: {wanted.about} does not exist; `interlock entity` lists what does")
    if wanted.job_id is not None:
        root = snapshot.root_of(wanted.job_id)
        if root is None:
            raise Missing(f"there is no job {wanted.job_id}; `interlock jobs` lists them")
        if root.state is State.ENDED:
            raise Refused(f"job {wanted.job_id} has ended {root.result}; nothing of it waits for a signal any more")
    flow = Flow(wanted.id)
    flow.send_signal(wanted)
    subject = job_ref(wanted.job_id) if wanted.job_id is not None else wanted.about or Ref("signal", wanted.id)
    after = {"signal": str(wanted.id), "kind": wanted.kind, "data": json.loads(wanted.data_json)}
    wish = auditing.wish_of(wanted.by)
    auditing.note(flow, wish, Action.SIGNAL_SEND, wanted.accepted_at, subject=subject, after=after)
    return ChangeSet(flow, flow.changes(), set(), snapshot.reads, snapshot.link_reads, {})


class MonitorDb(PhaseDb):
    """`db` of a monitor: its writes belong to no command."""

    def __init__(self, flow: Flow, name: str, snapshot: Snapshot, world: World, now: int) -> None:
        self._name = name
        super().__init__(flow, None, snapshot, world.catalog, _no_objects, world.new_id, now)

    def children(self, type: type[C]) -> tuple[Child[C], ...]:
        raise Bug(f"monitor {self._name} asked for its children; it has none")

    def tasks(self, command: Command[Any]) -> tuple[TaskResult, ...]:
        raise Bug(f"monitor {self._name} asked for its tasks; it has none")

    def restore(self) -> None:
        raise Bug(f"monitor {self._name} wanted to restore; what it observed is kept")

    def log(self, message: str, *, warning: bool = False) -> None:
        _log.info("monitor_said", monitor=self._name, message=message, warning=warning)

    def _remember(self, ref: Ref[Any], before: EntityRecord | None, after: EntityRecord | None) -> None:
        """Nothing restores what was observed."""

    def _who(self) -> str:
        return f"monitor {self._name}"


def report(
    world: World,
    flow: Flow,
    monitor: str,
    subject: Ref[Any],
    told: Any,
    snapshot: Snapshot,
    now: int,
    by: str = "",
) -> ChangeSet | None:
    """What the monitor writes; None: nothing. `by` is who observed it.
    Raises Refused where it raises, and then nothing is written."""
    db = MonitorDb(flow, monitor, snapshot, world, now)
    try:
        world.catalog.monitors[monitor].reported(db, subject, told)
    except Refused:
        raise
    except RAISED as error:
        snapshot.require_whole()
        _log.error("monitor_raised", monitor=monitor, subject=str(subject), exc_info=error)
        words = f"monitor {monitor} raised {type(error).__name__}: {error}; nothing was written, see the log"
        raise Refused(words) from error
    auditing.note(flow, auditing.wish_of(by), Action.REPORT_TELL, now, subject=subject, after={"monitor": monitor})
    if not flow.is_changed:
        return None
    links, bumps = link_changes(flow, world.catalog)
    return ChangeSet(flow, flow.changes() + links, bumps, snapshot.reads, snapshot.link_reads, {})


def _no_objects(row: CommandRecord) -> Command[Any]:
    raise Bug(f"a monitor asked for command {row.id}")
