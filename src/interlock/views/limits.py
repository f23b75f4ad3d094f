"""Limits: what is in force, how full it is, and what it holds back."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, select

from interlock.model.states import State
from interlock.store.tables import command_entities, limit_tickets, limit_uses, limits
from interlock.views.words import Json, moment

#: limits in one answer, and commands that one job waits with
PAGE_MAX = 1000


def page(connection: Connection, now: int) -> Json:
    """`{"limits": […], "more": bool}`: all limits by key; `now` in microseconds."""
    rows = connection.execute(select(limits).order_by(limits.c.key).limit(PAGE_MAX + 1)).mappings().all()
    return {"limits": [_limit(connection, row, now) for row in rows[:PAGE_MAX]], "more": len(rows) > PAGE_MAX}


def of_job(connection: Connection, job_id: UUID, now: int) -> list[Json]:
    """What of a job limits hold back: which command, by which limit, how full that is, and its place in the line,
    which counts from 1."""
    return _held_back(connection, limit_tickets.c.flow_id == job_id, now)


def of_command(connection: Connection, command_id: UUID, now: int) -> list[Json]:
    """As `of_job`, of one command alone: a job may have many that wait."""
    return _held_back(connection, limit_tickets.c.command_id == command_id, now)


def _held_back(connection: Connection, which: ColumnElement[bool], now: int) -> list[Json]:
    ticket = limit_tickets.c
    query = (
        select(limit_tickets, limits, command_entities.c.title)
        .join(limits, limits.c.key == ticket.key)
        .join(command_entities, command_entities.c.id == ticket.command_id)
        .where(which)
        .order_by(ticket.rank, ticket.command_id, ticket.key)
        .limit(PAGE_MAX)
    )
    return [
        {
            "command_id": str(row["command_id"]),
            "title": row["title"],
            "since": moment(row["since"]),
            "look_at": moment(row["look_at"]),
            "place": _place(connection, row),
            "limit": _limit(connection, row, now),
        }
        for row in connection.execute(query).mappings()
    ]


def _limit(connection: Connection, row: Any, now: int) -> Json:
    use, command = limit_uses.c, command_entities.c
    is_open = (command.id == use.command_id) & (command.state != State.ENDED)
    running = select(func.count()).select_from(limit_uses).join(command_entities, is_open)
    window_us = row["window_us"]
    recent = select(func.count()).where(use.key == row["key"], use.taken_at > now - (window_us or 0))
    return {
        "key": row["key"],
        "at_most": row["at_most"],
        "running": connection.scalar(running.where(use.key == row["key"])),
        "starts_max": row["starts_max"],
        "window_s": None if window_us is None else window_us / 1e6,
        "recent": None if window_us is None else connection.scalar(recent),
        "waiting": connection.scalar(select(func.count()).where(limit_tickets.c.key == row["key"])),
        "set_by": row["set_by"],
        "set_at": moment(row["set_at"]),
    }


def _place(connection: Connection, row: Any) -> int:
    ticket = limit_tickets.c
    before = (ticket.rank < row["rank"]) | ((ticket.rank == row["rank"]) & (ticket.command_id < row["command_id"]))
    return 1 + (connection.scalar(select(func.count()).where(ticket.key == row["key"], before)) or 0)
