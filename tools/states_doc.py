"""Writes docs/states.md from the tables of moves in model/states.py: `python tools/states_doc.py`."""

import inspect
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from interlock.model import states
from interlock.model.states import COMMAND_ENDS, COMMAND_MOVES, TASK_ENDS, TASK_MOVES, Outcome, Result, State, TaskState

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)
DOCUMENT = Path(__file__).parent.parent / "docs" / "states.md"
_MEMBER = re.compile(r"((?:^    #: .*\n)+)^    (\w+) = ", re.MULTILINE)

INTRODUCTION = """# States and moves

This page is written by `tools/states_doc.py` from `src/interlock/model/states.py`; a test fails when the two
differ. The same tables are what the database enforces with CHECK constraints and triggers: a row may show any
move that leads forward along the arrows, since one transaction may pass several.
"""


def meanings(words: type[StrEnum]) -> dict[str, str]:
    """What the `#:` lines before each member say."""
    source = inspect.getsource(words)
    return {
        name: " ".join(line.strip().removeprefix("#: ") for line in comment.strip().splitlines())
        for comment, name in _MEMBER.findall(source)
    }


def document() -> str:
    """The page."""
    parts = [
        INTRODUCTION,
        *_life("Commands", State, COMMAND_MOVES),
        *_words("How a command ends", Result),
        *_ends(COMMAND_ENDS),
        *_words("When a command ends whose parts are over", states.Ends),
        *_life("Async tasks", TaskState, TASK_MOVES),
        *_words("How an async task ends", Outcome),
        *_ends(TASK_ENDS),
        *_words("What a person sees of a job or a step", states.StepStatus),
    ]
    return "\n".join(parts)


def _life(title: str, words: type[S], moves: Mapping[S, Mapping[S, str]]) -> list[str]:
    return [*_words(title, words), *_diagram(words, moves), *_moves(moves)]


def _ends(ends: Mapping[S, Mapping[E, str]]) -> list[str]:
    found = dict.fromkeys(end for targets in ends.values() for end in targets)
    return [*_picture(ends, [f"    {end} --> [*]" for end in found]), *_moves(ends)]


def _words(title: str, words: type[StrEnum]) -> list[str]:
    said = meanings(words)
    rows = [f"| `{word}` | {said.get(word.name, '')} |" for word in words]
    return [f"## {title}\n", "| | |", "|---|---|", *rows, ""]


def _diagram(words: type[S], moves: Mapping[S, Mapping[S, str]]) -> list[str]:
    return _picture(
        moves, [f"    {word} --> [*]" for word in words if not moves[word]], f"    [*] --> {next(iter(words))}"
    )


def _picture(moves: Mapping[S, Mapping[E, str]], last: list[str], *first: str) -> list[str]:
    arrows = [f"    {origin} --> {target}" for origin, targets in moves.items() for target in targets]
    return ["```mermaid", "stateDiagram-v2", *first, *arrows, *last, "```", ""]


def _moves(moves: Mapping[S, Mapping[E, str]]) -> list[str]:
    rows = [
        f"| `{origin}` | `{target}` | {why} |" for origin, targets in moves.items() for target, why in targets.items()
    ]
    return ["| from | to | when, and who makes the move |", "|---|---|---|", *rows, ""]


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
