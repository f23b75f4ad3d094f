"""The pages that are made from the code are the ones that the code makes; what pages name is there."""

import re
from pathlib import Path

import pytest

from interlock.model.states import COMMAND_ENDS, COMMAND_MOVES, TASK_ENDS, TASK_MOVES
from interlock.views.search import commands, entities, events, jobs, steps
from interlock.views.why.answers import Kind
from tools.states_doc import DOCUMENT, document

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FEATURES = ROOT / "docs" / "features.md"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def broken_links(page: Path, text: str) -> list[str]:
    """The links to files or headings that are not there; those to other sites are not followed."""
    return [link for link in _LINK.findall(text) if "://" not in link and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def feature_rows() -> list[tuple[str, str, str, str, str]]:
    """Id, feature, module, test and status of every row."""
    lines = FEATURES.read_text(encoding="utf-8").splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines if re.match(r"\| [A-G]\d", line)]
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows if len(row) == 5]


def test_states_are_as_the_code_has_them() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "write it anew: python tools/states_doc.py"


def test_every_move_is_on_the_page() -> None:
    moves = [
        (str(origin), str(target), why)
        for table in (COMMAND_MOVES, COMMAND_ENDS, TASK_MOVES, TASK_ENDS)
        for origin, targets in table.items()
        for target, why in targets.items()
    ]
    lines = document().splitlines()
    arrows = [line for line in lines if " --> " in line and "[*]" not in line]
    assert arrows == [f"    {origin} --> {target}" for origin, target, _ in moves]
    assert [line for line in lines if line.count("|") == 4 and line.startswith("| `")] == [
        f"| `{origin}` | `{target}` | {why} |" for origin, target, why in moves
    ]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_recognised() -> None:
    text = "[a](README.md) [b](no.md) [c](#there) [d](README.md#not-there) [e](https://example.org/no)\n# There\n"
    assert broken_links(ROOT / "here.md", text) == ["no.md", "#there", "README.md#not-there"]
    assert anchors(text) == {"there"}


def test_the_code_in_the_readme_is_the_examples() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.py")))
    blocks = python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 4
    assert [block for block in blocks if block not in code] == []


def test_all_that_can_be_searched_for_is_on_its_page() -> None:
    page = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (jobs|events|steps|commands|entities) \| (.+) \|$", page, re.MULTILINE))
    for collection in (jobs.JOBS, events.EVENTS, steps.STEPS, commands.COMMANDS, entities.of_type("vm")):
        assert _CODE.findall(rows.pop(collection.name)) == list(collection.fields), collection.name
    assert rows == {}
    kinds = re.findall(r"^\| ((?:`[a-z ]+`(?:, )?)+) \| .+ \|$", page[page.index("## Why") :], re.MULTILINE)
    assert {kind for row in kinds for kind in _CODE.findall(row)} == set(Kind)


def test_every_feature_has_a_row() -> None:
    wanted = {"A": 16, "B": 5, "C": 4, "D": 14, "E": 10, "F": 24, "G": 7}
    assert [row[0] for row in feature_rows()] == [
        f"{group}{n}" for group in wanted for n in range(1, wanted[group] + 1)
    ]


@pytest.mark.parametrize("row", feature_rows(), ids=lambda row: row[0])
def test_a_feature_is_done_with_a_module_and_a_test(row: tuple[str, str, str, str, str]) -> None:
    _, _, module, test, status = row
    assert re.fullmatch(r"done|in part: .+|no test yet|planned", status)
    modules, tests = _CODE.findall(module), _CODE.findall(test)
    assert (bool(modules), bool(tests)) == (status != "planned", status not in ("no test yet", "planned"))
    assert [name for name in modules if not (ROOT / "src" / "interlock" / name).exists()] == []
    assert [name for name in tests if not _is_test(name)] == []


def _is_test(name: str) -> bool:
    """Whether `folder/test_file.py` is among the tests, or has the test of `folder/test_file.py::test_name`."""
    file, _, function = name.partition("::")
    path = ROOT / "tests" / file
    return path.is_file() and (not function or f"def {function}(" in path.read_text(encoding="utf-8"))
