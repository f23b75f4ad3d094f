"""What happened in a run, line by line: the same seed gives the same bytes."""

import hashlib
from collections.abc import Iterator, Sequence

from interlock.coordinator.change_set import ChangeSet
from interlock.model.records import CommandRecord, EventRecord, LockRecord, TaskRecord
from interlock.sim.timeline import Timeline


class Trace:
    """Lines of `time who what`."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.lines: list[str] = []

    def tell(self, who: str, what: str) -> None:
        """Adds a line."""
        self.lines.append(f"{self._timeline.now_s:012.6f} {who}: {what}")

    def digest(self) -> str:
        """Of all lines; two runs with the same digest were the same."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


def told(sets: Sequence[ChangeSet]) -> Iterator[str]:
    """What a transaction has stored of commands, tasks, steps of the log: a line each."""
    for change in (change for each in sets for change in each.changes):
        match change.new:
            case CommandRecord() as row:
                words = f"{row.state} {row.result or ''} {row.undo or ''} {row.stopping or ''} {row.attention or ''}"
                yield f"command {row.id} of {row.parent_id} ({row.name}) in {row.flow_id}: {words}"
            case TaskRecord() as row:
                words = f"{row.state} {row.outcome or ''} {row.stopping or ''} {row.message or ''}"
                yield f"task {row.id} of {row.command_id} ({row.method} on {row.host}) in {row.flow_id}: {words}"
            case EventRecord() as row:
                yield f"event {row.seq} of {row.flow_id}: {row.kind}: {row.message}"
            case LockRecord() as row:
                yield f"lock on {row.ref} of {row.flow_id} ({row.mode})"
            case None if isinstance(change.old, LockRecord):
                yield f"no lock on {change.old.ref} of {change.old.flow_id} any more"
            case _:
                pass
