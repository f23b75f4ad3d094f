"""The task machine: legal and illegal moves, and the words that a caller sees."""

from __future__ import annotations

from itertools import product

import pytest

from interlock.agent.task_machine import (
    MOVES,
    IllegalMove,
    Inner,
    check_move,
    failure_message,
    outer,
    running_message,
    success_message,
)
from interlock.verbs import Code

#: The protocol's table, by target: which states it may be reached from.
REACHED_FROM = {
    "unknown": "",
    "init": "",
    "preparing": "init blocked",
    "blocked": "preparing",
    "acquiring": "preparing acquiring",
    "queued": "acquiring running",
    "running": "queued",
    "finished": "running preparing",
    "aborting": "preparing blocked acquiring queued running",
    "waitrecover": "aborting",
    "racquiring": "aborting finished racquiring waitrecover",
    "recovering": "racquiring",
    "raborting": "racquiring recovering waitrecover",
    "recovered": "recovering",
    "failed": "recovering aborting raborting",
}
LEGAL = {(source, target) for target, sources in REACHED_FROM.items() for source in sources.split()}


@pytest.mark.parametrize(("source", "target"), list(product(Inner, Inner)))
def test_a_move_is_legal_exactly_if_the_protocol_says_so(source: Inner, target: Inner) -> None:
    if (source.value, target.value) in LEGAL:
        check_move("t-1", source, target)
        assert MOVES[source, target]
    else:
        with pytest.raises(IllegalMove, match=f"task t-1 cannot move from {source} to {target}") as refused:
            check_move("t-1", source, target)
        assert refused.value.code is Code.TRANSITION


def test_outer_words_of_every_inner_state() -> None:
    assert {state.value: (*map(str, outer(state)),) for state in Inner} == {
        "unknown": ("unknown", ""),
        "init": ("init", ""),
        "preparing": ("running", ""),
        "blocked": ("running", ""),
        "acquiring": ("running", ""),
        "queued": ("running", ""),
        "running": ("running", ""),
        "aborting": ("aborting", ""),
        "raborting": ("aborting", ""),
        "waitrecover": ("cleaning", ""),
        "racquiring": ("cleaning", ""),
        "recovering": ("cleaning", ""),
        "finished": ("finished", "success"),
        "recovered": ("finished", "cleanSuccess"),
        "failed": ("finished", "cleanFailure"),
    }


def test_only_the_three_ends_are_done() -> None:
    assert {state.value for state in Inner if state.is_done} == {"finished", "recovered", "failed"}


def test_messages_are_those_of_the_protocol() -> None:
    assert running_message(1, 3) == "running job 1 of 3"
    assert success_message(3) == "3 jobs completed successfully"
    assert failure_message("no room", 4706) == "value=no room abortedcode=4706"
