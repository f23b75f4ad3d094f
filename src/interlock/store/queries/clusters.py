"""The cluster that a database is of, and what becomes of its rows when they came from a backup."""

from uuid import UUID

from sqlalchemy import Connection, case, func, insert, select, text, update

from interlock.model.cluster import Cluster
from interlock.model.states import TaskState
from interlock.model.trials import RESTORED
from interlock.store.tables import async_tasks, cluster, engines, job

#: after a restoring all numbers that others remember go on so far above those of the backup: nobody comes by so many
#: between the backup and the restoring
APART = 1_000_000_000
#: epochs are a part of the numbers of changes, and may not grow so fast
EPOCHS_APART = 1_000
#: the journal to which a task is bound that the backup knows as not sent yet: no host has it, so it is not sent
NO_JOURNAL = "restored"
#: the numbers of events, by dialect
_RAISE_EVENTS = {
    "sqlite": "UPDATE sqlite_sequence SET seq = seq + :apart WHERE name = 'audit_log'",
    "postgresql": "SELECT setval(pg_get_serial_sequence('audit_log', 'id'), "
    "(SELECT coalesce(max(id), 0) FROM audit_log) + :apart)",
}


def present(connection: Connection) -> Cluster | None:
    """The database's; None where no engine of this version ever ran on it."""
    row = connection.execute(select(cluster.c.id, cluster.c.generation)).one_or_none()
    return None if row is None else Cluster(row.id, row.generation)


def found(connection: Connection, id: UUID) -> Cluster:
    """The database's. Where there is none yet, it gets the id of the first engine that ran on it, as any backup of it
    does, or `id`."""
    known = present(connection)
    if known is None:
        first = connection.scalar(select(engines.c.id).order_by(engines.c.epoch).limit(1))
        known = Cluster(first or id, 1)
        connection.execute(insert(cluster).values(alone=1, id=known.id, generation=known.generation))
    return known


def restored(connection: Connection, known: Cluster, engine: UUID, now: int) -> tuple[Cluster, int]:
    """The rows are of a backup: another generation begins, what numbers others remember are passed, and every flow that
    is open waits for a person. What it knows as not sent may have been. Returns the cluster, and how many flows wait.

    The generation and the terms are times, so that two who restore the same backup differ. `engine`: the id of a row
    that stands for the engines that may have run since.
    """
    newer = Cluster(known.id, max(known.generation + 1, now))
    connection.execute(update(cluster).values(generation=newer.generation))
    above = job.c.term + APART
    connection.execute(update(job).values(term=case((above > now, above), else_=now)))
    tasks = async_tasks.c
    unsent = (tasks.state == TaskState.INITIALIZING, tasks.host_id.is_not(None), tasks.incarnation.is_(None))
    connection.execute(update(async_tasks).where(*unsent).values(incarnation=NO_JOURNAL))
    epoch = connection.execute(select(func.coalesce(func.max(engines.c.epoch), 0))).scalar_one() + EPOCHS_APART
    row = {"id": engine, "epoch": epoch, "seq": 0, "started_at": now, "ended_at": now, "host": "restored", "pid": 0}
    connection.execute(insert(engines).values(row))
    connection.execute(text(_RAISE_EVENTS[connection.dialect.name]), {"apart": APART})
    parked = connection.execute(update(job).where(job.c.ended_at.is_(None)).values(claims=RESTORED))
    return newer, parked.rowcount
