"""The pages that are made from the code are the ones that the code makes."""

from interlock.model.states import COMMAND_MOVES, TASK_MOVES
from tools.states_doc import DOCUMENT, document


def test_states_are_as_the_code_has_them() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "write it anew: python tools/states_doc.py"


def test_every_move_is_on_the_page() -> None:
    moves = [
        (str(origin), str(target), why)
        for table in (COMMAND_MOVES, TASK_MOVES)
        for origin, targets in table.items()
        for target, why in targets.items()
    ]
    lines = document().splitlines()
    arrows = [line for line in lines if " --> " in line and "[*]" not in line]
    assert arrows == [f"    {origin} --> {target}" for origin, target, _ in moves]
    assert [line for line in lines if line.count("|") == 4 and line.startswith("| `")] == [
        f"| `{origin}` | `{target}` | {why} |" for origin, target, why in moves
    ]
