"""Every hard case has tests that name it, and docs/proof.md names just those; what cannot be shown yet says why."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "proof.md"
CASES = range(1, 33)
_CODE = re.compile(r"`([^`]+)`")


def rows() -> dict[int, tuple[str, set[str], str]]:
    """What the page says of each case: what is done, the tests, and what cannot be shown yet."""
    section = PAGE.read_text(encoding="utf-8").split("## Hard cases\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if re.match(r"\| \d+ \|", line)]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {int(number): (words, set(_CODE.findall(tests)), missing) for number, words, tests, missing in cells}


@cache
def marked() -> dict[int, set[str]]:
    """The tests that say which cases they show, by case."""
    found = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.hard_case(" in text:
            for name, number in marks(ast.parse(text)):
                found[number].add(f"{path.relative_to(TESTS)}::{name}")
    return found


def marks(module: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.hard_case":
                    yield from ((node.name, ast.literal_eval(each)) for each in mark.args)


def test_the_page_has_every_case_once_and_in_order() -> None:
    assert list(rows()) == list(CASES)
    assert set(marked()) <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_shown_by_tests_or_says_why_it_cannot_be(case: int) -> None:
    _, named, missing = rows()[case]
    assert named == marked()[case], "the marks and docs/proof.md differ"
    assert named or missing
    if not named:
        pytest.skip(f"case {case}: {missing}")
