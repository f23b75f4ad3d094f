"""The cluster that a database is of, and what becomes of its rows when they came from a backup."""

from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from interlock.model.cluster import Cluster
from interlock.model.trials import RESTORED
from interlock.store.tables import cluster, job

#: flows' terms are so much greater after a restoring: no flow is taken over so often in between
TERMS_APART = 1_000_000


def present(connection: Connection) -> Cluster | None:
    """The database's; None where no engine ever ran on it."""
    row = connection.execute(select(cluster.c.id, cluster.c.generation)).one_or_none()
    return None if row is None else Cluster(row.id, row.generation)


def found(connection: Connection, id: UUID) -> Cluster:
    """The database's; a new one of that id where there is none yet."""
    known = present(connection)
    if known is None:
        known = Cluster(id, 1)
        connection.execute(insert(cluster).values(alone=1, id=id, generation=known.generation))
    return known


def restored_at(connection: Connection) -> int | None:
    """When a backup was restored the last time; None: never."""
    at: int | None = connection.scalar(select(cluster.c.restored_at))
    return at


def restored(connection: Connection, known: Cluster, now: int) -> tuple[Cluster, int]:
    """The rows are of a backup: another generation begins, all terms are newer than any before, and every flow that is
    open waits for a person. Returns the cluster, and how many flows those are."""
    newer = Cluster(known.id, max(known.generation + 1, now))
    connection.execute(update(cluster).values(generation=newer.generation, restored_at=now))
    connection.execute(update(job).values(term=job.c.term + TERMS_APART))
    parked = connection.execute(update(job).where(job.c.ended_at.is_(None)).values(claims=RESTORED))
    return newer, parked.rowcount
