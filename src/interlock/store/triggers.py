"""Triggers that refuse illegal moves, made from model/states.py (SQLite; the tables load without them)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from interlock.model.states import COMMAND_MOVES, TASK_MOVES, row_moves

S = TypeVar("S", bound=StrEnum)


def _moves(table: str, thing: str, moves: Mapping[S, Mapping[S, str]]) -> str:
    """Refuses every move that the table of moves does not lead to; the message names both states."""
    legal = row_moves(moves)
    illegal = [
        (origin, target)
        for origin in moves
        for target in moves
        if origin is not target and (origin, target) not in legal
    ]
    # RAISE takes only a literal, hence an arm per pair
    arms = "\n".join(
        f"    WHEN OLD.state = '{origin}' AND NEW.state = '{target}'\n"
        f"      THEN RAISE(ABORT, 'a {thing} cannot go from {origin} to {target}')"
        for origin, target in illegal
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
