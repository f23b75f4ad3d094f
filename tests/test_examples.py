"""The examples do what they say: as a library in this process, and behind a real server."""

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from examples.first_command.__main__ import main
from examples.rolling_change import scene
from examples.rolling_change.__main__ import main as roll_out
from interlock.app import verify_database

ROOT = Path(__file__).parent.parent
CATALOG_NAME = "examples.first_command.catalog:CATALOG"
WAIT_S = 30.0


async def test_the_first_command_as_a_library(tmp_path: Path) -> None:
    with capture_logs():
        said = await main(tmp_path)
    site = tmp_path / "site"
    assert said == [
        "v1: live shows v1",
        "v2: 1 of 2 parts failed: point_at failed on this process: "
        f"ValueError: {site}/v2 has no index.html; nobody could read the site",
        "after v2: live shows v1, and there are live, v1",
    ]
    assert verify_database(str(tmp_path / "state.db"))["violations"] == []


async def test_the_rolling_change_as_a_library(tmp_path: Path) -> None:
    said: list[str] = []
    with capture_logs():
        await roll_out(tmp_path, said.append)
    good = ", ".join(f"{name} v2" for name in scene.SERVERS)
    said.remove("   it asks: Shall all servers get v2? and ann agrees")
    changes = [line for line in said if line.startswith("   ")]
    assert [line for line in said if line not in changes][:-1] == [
        "v2 is rolled out:",
        f"v2 succeeded; shown are {good}",
        "v3 is rolled out:",
        "v3 failed: check_health failed on this process: RuntimeError: "
        f"s3: release v3 needs 2048 MB of memory, there are 1024; shown are {good}",
    ]
    assert re.fullmatch(r"meanwhile customers asked [1-9]\d* times, and were not answered 0 times", said[-1])
    assert max(line.count("(") for line in changes) == 2, "two at a time, once the canary is well"
    assert verify_database(str(tmp_path / "state.db"))["violations"] == []


@contextmanager
def serving(state: Path) -> Iterator[None]:
    """A server of the example, ready; stopped at the end."""
    command = [sys.executable, "-m", "interlock.cli", "serve", "--state", str(state), "--catalog", CATALOG_NAME]
    with (state.parent / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
    try:
        assert server.stdout is not None
        assert select.select([server.stdout], [], [], WAIT_S)[0]
        assert server.stdout.readline() == f"interlock: ready on {state}/interlock.sock\n".encode()
        yield
        server.terminate()
        assert server.wait(WAIT_S) == 0
    finally:
        server.kill()
        server.communicate(timeout=WAIT_S)


def interlock(state: Path, *arguments: str) -> tuple[int, str]:
    """The command line; its exit code and what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "interlock.cli", *arguments],
        env=os.environ | {"INTERLOCK_SOCKET": str(state / "interlock.sock")},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return ran.returncode, ran.stdout


def listed(state: Path, *arguments: str) -> Any:
    """An answer as JSON."""
    code, out = interlock(state, "-o", "json", *arguments)
    assert code == 0
    return json.loads(out)


def test_the_first_command_behind_a_server(tmp_path: Path) -> None:
    state, site, good, bad = (tmp_path / name for name in ("state", "site", "good", "bad"))
    for folder in (site, good, bad):
        folder.mkdir()
    (good / "index.html").write_text("hello")
    with serving(state):
        assert interlock(state, "run", "site.add", "name=shop", f"folder={site}", "--wait")[0] == 0
        first = interlock(state, "run", "site.publish", "site=shop", "version=v1", f"source={good}", "--wait")
        assert first[0] == 0
        before = listed(state, "entity", "site", "shop")
        planned = interlock(state, "run", "site.publish", "site=shop", "version=v2", f"source={bad}", "--plan")
        assert planned == (
            0,
            "site.publish: Publish v2 of site shop [at once]\n"
            "  locks site shop (exclusive)\n"
            "  site.copy_files: site.copy_files [at once; step COPY_FILES]\n"
            "    locks release shop-v2 (shared)\n"
            "    task copy_files in this process\n"
            "  site.go_live: site.go_live [later; step GO_LIVE; after site.copy_files#0]\n",
        )
        second = interlock(state, "run", "site.publish", "site=shop", "version=v2", f"source={bad}", "--wait")
        assert second[0] == 1
        refused = interlock(state, "run", "site.publish", "site=shop", "version=v1", f"source={good}", "--wait")
        assert refused[0] == 1
        after = listed(state, "entity", "site", "shop")
        assert {**after, "jobs": []} == {**before, "jobs": []}
        assert listed(state, "locks")["locks"] == []
    assert sorted(path.name for path in site.iterdir()) == ["live", "v1"]
    assert (site / "live" / "index.html").read_text() == "hello"
    assert verify_database(str(state / "state.db"))["violations"] == []
