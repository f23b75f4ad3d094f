"""Somebody who reads the log of all jobs as it grows, and must miss nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from interlock.sim.timeline import Timeline
from interlock.store.database import Database
from interlock.store.tables import audit_log
from interlock.views import changed

#: how often it looks, and how much it reads at once
LOOK_S, PAGE = 41.0, 60


class LogReader:
    """Reads from where it was, again and again."""

    def __init__(self, timeline: Timeline, looking: Database) -> None:
        self._timeline = timeline
        self._looking = looking
        self._cursor = 0
        self._read: list[tuple[str, int]] = []

    def look(self) -> None:
        """Reads on, now and from now on."""
        with self._looking.reading() as connection:
            self._take(connection)
        self._timeline.after(LOOK_S, None, self.look)

    def _take(self, connection: Connection) -> bool:
        page = changed.events(connection, self._cursor, limit=PAGE)
        self._cursor = page["next"]
        self._read += [(event["job_id"], event["seq"]) for event in page["events"]]
        return bool(page["events"])

    def missed(self, connection: Connection) -> Iterator[str]:
        """21. What it has read by the end is the log, each line once; but for what retention has removed since."""
        while self._take(connection):
            pass
        rows = connection.execute(select(audit_log.c.flow_id, audit_log.c.seq).order_by(audit_log.c.id))
        log = {(str(flow_id), seq): None for flow_id, seq in rows}
        if [line for line in self._read if line in log] != list(log):
            yield f"21: a reader of the log has read {len(self._read)} lines, and there are {len(log)}: they differ"
