"""Every commit, every call to a host and every effect of an agent is within a registered failpoint, by the sources."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from interlock import failpoints
from interlock.failpoints import HOST_CALL, REGISTERED

SOURCES = Path(__file__).parent.parent / "src" / "interlock"
#: what may be within none, by module and function, and why
UNNAMED: Mapping[tuple[str, str], str] = {
    ("store/database.py", "reading"): "it reads",
    ("coordinator/writer.py", "_make_sure"): "it writes nothing",
    ("agent/journal/files.py", "__init__"): "of the journal, whose every state tests/agent/crash_states judges",
    ("agent/journal/files.py", "overwrite"): "as before; the whole of it is one effect, agent_journal",
    ("agent/journal/files.py", "rename"): "as before",
    ("agent/journal/files.py", "remove"): "as before",
    ("agent/serving/server.py", "run"): "the file `port` tells that an agent is ready; none reads it after a crash",
    ("agent/serving/server.py", "_write_port"): "as before",
    ("agent/serving/server.py", "_only_one"): "an empty file, to be locked",
    ("agent/tasks/children.py", "_lock"): "an empty file, to be locked",
    ("agent/tasks/children.py", "kill"): "a part of agent_end_child, which alone calls it, again and again",
    ("agent/tasks/children.py", "forget"): "a folder that nobody needs: the next agent removes what is left of it",
}
_FILE_CALLS = frozenset(
    {f"os.{name}" for name in ("link", "makedirs", "mkdir", "posix_fallocate", "pwrite", "remove", "rename", "replace")}
    | {f"os.{name}" for name in ("rmdir", "symlink", "truncate", "ftruncate", "unlink", "write", "kill", "killpg")}
    | {"signal.pidfd_send_signal", "asyncio.create_subprocess_exec"}
)
_PATH_METHODS = frozenset(
    {"chmod", "hardlink_to", "mkdir", "rename", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text"}
)
_WRITING_MODES = frozenset("wax+")


def is_commit(call: ast.Call, is_entered: bool) -> bool:
    """`….commit()` and `with ….begin()`; what is saved within a transaction is called savepoint everywhere."""
    owner, _, method = ast.unparse(call.func).rpartition(".")
    return (method == "commit" and owner != "savepoint") or (method == "begin" and is_entered)


def is_host_call(call: ast.Call, is_entered: bool) -> bool:
    return ast.unparse(call.func) in ("client.call", "self._client.call")


def is_effect(call: ast.Call, is_entered: bool) -> bool:
    """Whether it changes files, or starts or ends processes; what `durable` does is looked at there."""
    name = ast.unparse(call.func)
    if name == "os.open":
        return any("O_CREAT" in ast.unparse(each) for each in call.args)
    if name == "open":
        is_in_memory = ast.unparse(call.args[0]).startswith("os.memfd_create")
        return not is_in_memory and not _WRITING_MODES.isdisjoint(_mode(call))
    if name in _FILE_CALLS or name.startswith(("shutil.", "subprocess.")):
        return True
    owner, _, method = name.rpartition(".")
    return method in _PATH_METHODS and owner not in ("", "durable", "self._files", "files")


def _mode(call: ast.Call) -> str:
    return ast.unparse(call.args[1]) if len(call.args) > 1 else ""


#: what is looked for in the modules below each folder
LOOKED_FOR = {"coordinator": is_commit, "store": is_commit, "hosts": is_host_call, "agent": is_effect}


def _named(call: ast.expr, which: str) -> bool:
    """Whether it is `failpoints.<which>(…)`, of a registered name."""
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != f"failpoints.{which}" or not call.args:
        return False
    name = call.args[0]
    if isinstance(name, ast.Constant):
        return name.value in REGISTERED
    return ast.unparse(name) in ("name", "f'{failpoints.HOST_CALL}{method}'")  # a call to a host: checked as it is made


def unnamed(source: str, folder: str) -> Iterator[tuple[str, int, str]]:
    """The effects that are within no failpoint: function, line and words of each."""
    is_wanted = LOOKED_FOR[folder]
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        within = list(ast.walk(function))
        begins = [node.lineno for node in within if isinstance(node, ast.Call) and _named(node, "before")]
        ends = [node.lineno for node in within if isinstance(node, ast.Call) and _named(node, "after")]
        blocks = [node for node in within if isinstance(node, ast.With | ast.AsyncWith)]
        entered = {item.context_expr for block in blocks for item in block.items}
        covered = {
            node
            for block in blocks
            if any(_named(item.context_expr, "around") for item in block.items)
            for node in ast.walk(block)
        }
        for node in within:
            if not isinstance(node, ast.Call) or node in covered or not is_wanted(node, node in entered):
                continue
            if not (begins and ends and min(begins) < node.lineno < max(ends)):
                yield function.name, node.lineno, ast.unparse(node)


def modules() -> Iterator[tuple[str, str, str]]:
    """Folder, name and source of each module that is looked at."""
    for folder in LOOKED_FOR:
        for path in sorted((SOURCES / folder).rglob("*.py")):
            yield folder, str(path.relative_to(SOURCES)), path.read_text("utf-8")


def test_every_commit_host_call_and_effect_is_within_a_registered_failpoint() -> None:
    found = {
        (module, function): f"{module}:{line}: {words}"
        for folder, module, source in modules()
        for function, line, words in unnamed(source, folder)
    }
    assert {place: words for place, words in found.items() if place not in UNNAMED} == {}
    assert [place for place in UNNAMED if place not in found] == [], "these need no leave any more"


def test_every_registered_failpoint_stands_somewhere() -> None:
    sources = "".join(source for _, _, source in modules())
    names = [name for name in REGISTERED if name != HOST_CALL]
    assert [
        name for name in names if f'failpoints.around("{name}")' not in sources and f'("{name}")' not in sources
    ] == []


def test_a_failpoint_of_another_name_is_a_bug() -> None:
    with pytest.raises(failpoints.NotRegistered, match="agent_writes is none of the registered failpoints"):
        failpoints.before("agent_writes")
    failpoints.before("host:Image.delete")


@pytest.mark.parametrize(
    ("folder", "source", "lines"),
    [
        ("coordinator", "def f():\n    transaction.commit()", [2]),
        ("coordinator", "def f():\n    with connection.begin():\n        pass", [2]),
        ("coordinator", "def f():\n    with failpoints.around('commit'), connection.begin():\n        pass", []),
        ("coordinator", "def f():\n    with failpoints.around('other'), connection.begin():\n        pass", [2]),
        ("store", "def f():\n  n = failpoints.before('commit')\n  t.commit()\n  failpoints.after('commit', n)", []),
        ("store", "def f():\n    t.commit()\n    failpoints.before('commit')\n    failpoints.after('commit', 1)", [2]),
        ("coordinator", "def f():\n    savepoint.commit()", []),
        ("hosts", "async def f():\n    await self._client.call(method)", [2]),
        ("agent", "def f():\n    os.rename(a, b)\n    path.unlink()\n    durable.rename(a, b)", [2, 3]),
        ("agent", "def f():\n    subprocess.Popen(c)\n    shutil.rmtree(p)", [2, 3]),
        ("agent", "def f():\n    open(p, 'rb')\n    open(p, 'ab')\n    os.open(p, os.O_RDWR | os.O_CREAT)", [3, 4]),
        ("agent", "def f():\n    with failpoints.around('agent_write'):\n        path.write_text(x)", []),
    ],
)  # fmt: skip
def test_an_effect_that_is_within_none_is_found(folder: str, source: str, lines: list[int]) -> None:
    assert [line for _, line, _ in unnamed(source, folder)] == lines
