"""Engines: who runs, and the compare-and-set that every batch begins with."""

from uuid import UUID

from sqlalchemy import Connection, bindparam, func, insert, select, update

from interlock.store.tables import engines

_BEGIN_BATCH = (
    update(engines)
    .where(
        engines.c.id == bindparam("engine"),
        engines.c.epoch == bindparam("its_epoch"),
        engines.c.seq == bindparam("its_seq"),
        engines.c.ended_at.is_(None),
    )
    .values(seq=engines.c.seq + 1, seen_at=bindparam("now"))
)


_END_ALL = update(engines).where(engines.c.ended_at.is_(None)).values(ended_at=bindparam("now"))
_NEXT_EPOCH = select(func.coalesce(func.max(engines.c.epoch), 0) + 1)


def register(connection: Connection, engine_id: UUID, now: int, host: str, pid: int) -> int:
    """Adds an engine and ends all others; returns its epoch, greater than any before. Its seq is 0."""
    connection.execute(_END_ALL, {"now": now})
    epoch = connection.execute(_NEXT_EPOCH).scalar_one()
    row = {"id": engine_id, "epoch": epoch, "seq": 0, "started_at": now, "seen_at": now, "host": host, "pid": pid}
    connection.execute(insert(engines).values(row))
    return int(epoch)


def is_any_running(connection: Connection) -> bool:
    """Whether an engine has not been marked as ended: it runs, or it died."""
    return connection.scalar(select(func.count()).where(engines.c.ended_at.is_(None))) != 0


def last_seen(connection: Connection) -> int | None:
    """When the latest engine committed something; None where there was none, or it did not say."""
    found: int | None = connection.scalar(select(engines.c.seen_at).order_by(engines.c.epoch.desc()).limit(1))
    return found


def begin_batch(connection: Connection, engine_id: UUID, epoch: int, seq: int, now: int) -> bool:
    """Counts the engine's batches from `seq` to `seq + 1`; False = it no longer owns the database, or another
    batch went before, and nothing may be written."""
    values = {"engine": engine_id, "its_epoch": epoch, "its_seq": seq, "now": now}
    return bool(connection.execute(_BEGIN_BATCH, values).rowcount == 1)


def end(connection: Connection, engine_id: UUID, now: int) -> None:
    """Marks an engine that stops as ended."""
    connection.execute(
        update(engines).where(engines.c.id == engine_id, engines.c.ended_at.is_(None)).values(ended_at=now, seen_at=now)
    )
