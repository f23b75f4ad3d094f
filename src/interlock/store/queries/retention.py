"""Ended jobs in the order of their ends, what refers to them, and signals that nobody needs any more."""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, Row, Select, and_, bindparam, exists, or_, select

from interlock.model.retention import EndedJob
from interlock.model.waits import wait_of
from interlock.store.tables import async_tasks, command_entities, entity_locks, job, job_formers, leftovers, signals

#: where a page of ended jobs begins: the end and the id of the last of the page before
Place = tuple[int, UUID]

_unfinished = select(job.c.id).where(job.c.ended_at.is_(None))


def ended_before(connection: Connection, before: int, after: Place | None, limit: int) -> list[EndedJob]:
    """The jobs that ended before a time, the longest ended first, beyond a place."""
    if after is None:
        return _ended(connection, _FIRST, {"before": before, "most": limit})
    return _ended(connection, _NEXT, {"before": before, "most": limit, "ended_at": after[0], "id": after[1]})


def ended(connection: Connection, ids: Sequence[UUID]) -> list[EndedJob]:
    """Those of the jobs that have ended."""
    return _ended(connection, _OF_IDS, {"ids": ids})


def _query() -> Select[tuple[object, ...]]:
    root = command_entities
    is_open = exists().where(leftovers.c.flow_id == job.c.id, leftovers.c.cleared_at.is_(None))
    is_uncleared = exists().where(
        async_tasks.c.flow_id == job.c.id,
        async_tasks.c.state.in_(["Ended", "ClearFailed"]),
        async_tasks.c.host_id.is_not(None),
    )
    return select(
        job.c.id, job.c.action, job.c.result, job.c.ended_at, job.c.updated_at,
        and_(~root.c.has_leftovers, ~root.c.has_warnings).label("is_clean"), is_open.label("is_open"),
        is_uncleared.label("is_uncleared"), exists().where(entity_locks.c.flow_id == job.c.id).label("has_locks"),
    ).join(root, root.c.id == job.c.id)  # fmt: skip


def _ended(connection: Connection, query: Select[tuple[object, ...]], values: Mapping[str, object]) -> list[EndedJob]:
    rows: Sequence[Row[tuple[object, ...]]] = connection.execute(query, values).all()
    return [
        EndedJob(row.id, row.action, row.result, row.ended_at, row.updated_at, bool(row.is_clean), bool(row.is_open),
                 bool(row.is_uncleared), bool(row.has_locks))
        for row in rows
    ]  # fmt: skip


_ENDED = _query().where(job.c.ended_at.is_not(None))
_OF_IDS = _ENDED.where(job.c.id.in_(bindparam("ids", expanding=True)))
_FIRST = _ENDED.where(job.c.ended_at <= bindparam("before")).order_by(job.c.ended_at, job.c.id).limit(bindparam("most"))
_NEXT = _FIRST.where(
    job.c.ended_at >= bindparam("ended_at"),
    or_(job.c.ended_at > bindparam("ended_at"), job.c.id > bindparam("id")),
)
_FORMERS = select(job_formers.c.former_id).where(job_formers.c.result.is_(None), job_formers.c.flow_id.in_(_unfinished))
_OPEN_WAITS = select(async_tasks.c.wait_json).where(
    async_tasks.c.flow_id.in_(_unfinished), async_tasks.c.outcome.is_(None), async_tasks.c.wait_json.is_not(None)
)


def referred_to(connection: Connection) -> set[UUID]:
    """The jobs after which something that has not ended comes, or for whose ends it waits."""
    formers = connection.scalars(_FORMERS)
    return {*formers, *(id for text in _open_waits(connection) if (id := wait_of(text).job) is not None)}


def _open_waits(connection: Connection) -> Iterator[str]:
    return iter(connection.scalars(_OPEN_WAITS).all())


def old_signals(connection: Connection, before: int, limit: int) -> list[int]:
    """The numbers of signals that were addressed to nobody and accepted before a time, the first first; not those that
    a wait that has not ended may still take."""
    needed = [wait.begun_after for text in _open_waits(connection) if (wait := wait_of(text)).signal is not None]
    where = [signals.c.job_id.is_(None), signals.c.accepted_at <= before]
    if needed:
        where.append(signals.c.number <= min(needed))
    return list(connection.scalars(select(signals.c.number).where(*where).order_by(signals.c.number).limit(limit)))
