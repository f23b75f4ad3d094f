"""Owning: an engine enters itself in the database, and takes its leave."""

import os
import socket

import structlog

from interlock.clock import Clock
from interlock.coordinator.writer import Owner
from interlock.ids import new_id
from interlock.model.cluster import Cluster
from interlock.store.database import Database
from interlock.store.queries import clusters, deadlines, engines

_log = structlog.get_logger(__name__)


def register(database: Database, clock: Clock) -> tuple[Owner, Cluster, bool]:
    """A new row of `engines`; the cluster; and whether the engine before ended without saying good-bye.

    Open deadlines are moved by the time in which no engine ran, by the wall clock, as that is all there is of it.
    Raises DatabaseLost.
    """
    id, now = new_id(), clock.now_us()
    with database.writing("commit_register") as connection:
        after_a_crash = engines.is_any_running(connection)
        seen_at = engines.last_seen(connection)
        if seen_at is not None:
            deadlines.move(connection, now - seen_at)
        epoch = engines.register(connection, id, now, socket.gethostname(), os.getpid())
        cluster = clusters.found(connection, new_id())
    return Owner(id, epoch), cluster, after_a_crash


def say_goodbye(database: Database, owner: Owner, clock: Clock) -> None:
    """Nothing was cut off: the next engine need not suspect any flow."""
    try:
        with database.writing("commit_goodbye") as connection:
            engines.end(connection, owner.id, clock.now_us())
    except Exception as error:
        if not database.is_lost(error):
            raise
        _log.warning("goodbye_not_said", reason=str(error))
