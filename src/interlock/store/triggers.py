"""Triggers that refuse illegal moves, made from model/states.py, for either database (the tables load without)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from interlock.model.states import COMMAND_MOVES, TASK_MOVES, row_moves

S = TypeVar("S", bound=StrEnum)


def _illegal(moves: Mapping[S, Mapping[S, str]]) -> list[tuple[S, S]]:
    """The moves that the table of moves does not lead to."""
    legal = row_moves(moves)
    return [
        (origin, target)
        for origin in moves
        for target in moves
        if origin is not target and (origin, target) not in legal
    ]


def _moves(table: str, thing: str, moves: Mapping[S, Mapping[S, str]]) -> str:
    """Refuses every illegal move; the message names both states."""
    # RAISE takes only a literal, hence an arm per pair
    arms = "\n".join(
        f"    WHEN OLD.state = '{origin}' AND NEW.state = '{target}'\n"
        f"      THEN RAISE(ABORT, 'a {thing} cannot go from {origin} to {target}')"
        for origin, target in _illegal(moves)
    )
    return (
        f"CREATE TRIGGER {table}_moves BEFORE UPDATE OF state ON {table}\n"
        f"WHEN OLD.state <> NEW.state\n"
        f"BEGIN\n  SELECT CASE\n{arms}\n  END;\nEND"
    )


def _fixed(table: str, thing: str, over: str, columns: tuple[str, ...]) -> str:
    """Refuses to change how and when something ended."""
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
    return (
        f"CREATE TRIGGER {table}_end BEFORE UPDATE OF {', '.join(columns)} ON {table}\n"
        f"WHEN {over} AND ({changed})\n"
        f"BEGIN\n  SELECT RAISE(ABORT, 'the end of a {thing} cannot be changed');\nEND"
    )


#: the statements that create them, by name
SQLITE_TRIGGERS: Mapping[str, str] = {
    "command_entities_moves": _moves("command_entities", "command", COMMAND_MOVES),
    "command_entities_end": _fixed("command_entities", "command", "OLD.state = 'ENDED'", ("result", "ended_at")),
    "async_tasks_moves": _moves("async_tasks", "task", TASK_MOVES),
    "async_tasks_end": _fixed("async_tasks", "task", "OLD.outcome IS NOT NULL", ("outcome", "ended_at")),
}


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n{body}\n  RETURN NEW;\nEND $$"


def _moves_function(name: str, thing: str, moves: Mapping[S, Mapping[S, str]]) -> str:
    """As `_moves`; the error is one of integrity, as a CHECK's."""
    pairs = ",\n".join(f"    ('{origin}', '{target}')" for origin, target in _illegal(moves))
    return _function(
        name,
        f"  IF (OLD.state, NEW.state) IN (\n{pairs}\n  ) THEN\n"
        f"    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',\n"
        f"      MESSAGE = 'a {thing} cannot go from ' || OLD.state || ' to ' || NEW.state;\n  END IF;",
    )


def _fixed_function(name: str, thing: str, over: str, columns: tuple[str, ...]) -> str:
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)
    return _function(
        name,
        f"  IF {over} AND ({changed}) THEN\n"
        f"    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',\n"
        f"      MESSAGE = 'the end of a {thing} cannot be changed';\n  END IF;",
    )


def _before(name: str, table: str, *columns: str) -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE UPDATE OF {', '.join(columns)} ON {table}\n"
        f"FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


#: the same for PostgreSQL: each a function and the trigger that calls it
POSTGRESQL_TRIGGERS: tuple[str, ...] = (
    _moves_function("command_entities_moves", "command", COMMAND_MOVES),
    _before("command_entities_moves", "command_entities", "state"),
    _fixed_function("command_entities_end", "command", "OLD.state = 'ENDED'", ("result", "ended_at")),
    _before("command_entities_end", "command_entities", "result", "ended_at"),
    _moves_function("async_tasks_moves", "task", TASK_MOVES),
    _before("async_tasks_moves", "async_tasks", "state"),
    _fixed_function("async_tasks_end", "task", "OLD.outcome IS NOT NULL", ("outcome", "ended_at")),
    _before("async_tasks_end", "async_tasks", "outcome", "ended_at"),
)
