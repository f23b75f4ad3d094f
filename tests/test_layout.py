"""The style that no other tool checks: names, sizes and first lines of modules, and no shell."""

import ast
from pathlib import Path

import pytest

import interlock

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "interlock").rglob("*.py"))
PYTHON_FILES = sorted(
    path for folder in ("src", "tests", "bench", "planted", "examples") for path in (ROOT / folder).rglob("*.py")
)
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "base", "misc"}
MODULE_LINES_MAX = 400


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def starts_with_its_purpose(source: str, filename: str = "source") -> bool:
    """Whether the very first line belongs to a docstring that says something there."""
    docstring = ast.get_docstring(ast.parse(source, filename), clean=False)
    return source.startswith(('"""', 'r"""')) and docstring is not None and bool(docstring.split("\n")[0].strip())


def shell_lines(source: str, filename: str = "source") -> list[int]:
    """The lines of the calls that hand a string to a shell."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source, filename))
        if isinstance(node, ast.Call)
        and (
            any(
                word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in node.keywords
            )
            or ast.unparse(node.func) in {"os.system", "os.popen", "asyncio.create_subprocess_shell"}
        )
    ]


def test_the_sources_are_found() -> None:
    assert ROOT / "src" / "interlock" / "core" / "__init__.py" in SOURCES
    assert Path(__file__) in PYTHON_FILES


def test_every_module_has_a_name_that_says_something() -> None:
    named = {path for path in PYTHON_FILES if {path.stem, path.parent.name} & NAMES_THAT_SAY_NOTHING}
    assert sorted(map(shown, named)) == []


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    silent = [shown(path) for path in SOURCES if not starts_with_its_purpose(path.read_text("utf-8"), shown(path))]
    assert silent == []


def test_no_module_is_too_long() -> None:
    lengths = {shown(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_core_knows_ids_but_makes_none() -> None:
    """The import contracts see modules, not names: of uuid, core may have the type alone."""
    taken = {
        (shown(path), ast.unparse(node))
        for path in SOURCES
        if "core" in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8"), shown(path)))
        if (isinstance(node, ast.ImportFrom) and node.module == "uuid")
        or (isinstance(node, ast.Import) and any(name.name == "uuid" for name in node.names))
    }
    assert sorted(line for line in taken if line[1] != "from uuid import UUID") == []


def test_nothing_goes_through_a_shell() -> None:
    texts = ((shown(path), path.read_text("utf-8")) for path in PYTHON_FILES)
    found = {name: shell_lines(text, name) for name, text in texts if "shell" in text or "os." in text}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import subprocess\nsubprocess.run('ls', shell=True)", [2]),
        ("run('ls', shell=wanted)", [1]),
        ("import os\nos.system('ls')", [2]),
        ("run(['ls'], shell=False)", []),
        ("run(['ls'])", []),
    ],
)
def test_a_shell_is_recognised(source: str, lines: list[int]) -> None:
    assert shell_lines(source) == lines


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ('"""What it is."""\n', True),
        ('"""\nWhat it is."""\n', False),
        ('# a comment\n"""What it is."""\n', False),
        ("import os\n", False),
        ("", False),
    ],
)
def test_a_first_line_is_recognised(source: str, says: bool) -> None:
    assert starts_with_its_purpose(source) is says


@pytest.mark.parametrize("name", interlock.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(interlock, name) is not None
