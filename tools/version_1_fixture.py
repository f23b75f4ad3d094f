"""Writes tests/store/fixtures/version_1.sql, a database with flows under way: `python -m tools.version_1_fixture`.

To be run with the code of version 1 only; what it wrote stays as it is for ever.
"""

import asyncio
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from interlock.coordinator.coordinator import Coordinator, Settings
from interlock.coordinator.watched import Patience
from interlock.model.records import TaskRecord
from interlock.testing.site import wait_for
from tests.store.version_1 import CATALOG, FIXTURE, ScriptedHost, reached

WAIT_S = 30.0
POLL_S = 0.05
#: two flows, each with a part that is done and one whose task the host has begun
UNDER_WAY = """
SELECT (SELECT count(*) FROM async_tasks WHERE state = 'Polling' AND progress = 40),
       (SELECT count(*) FROM async_tasks WHERE state NOT IN ('Polling', 'Cleared')),
       (SELECT count(*) FROM command_entities WHERE state = 'ENDED' AND flow_id IN
           (SELECT id FROM job WHERE ended_at IS NULL))
"""


class Deciding:
    """How tasks stand for ever: the disk `lost` is of unknown fate, two others never end."""

    def __init__(self) -> None:
        self.deletes = 0

    def __call__(self, task: TaskRecord) -> str:
        if task.method == "Image.delete":
            self.deletes += 1
            return "running" if self.deletes > 1 else "success"
        stands = {"lost": "unknown", "second": "running"}
        return stands.get(json.loads(task.arguments_json).get("desc"), "success")


async def make(path: Path) -> None:
    """Leaves at `path` what the database of a live coordinator holds in the middle of its work."""
    host = ScriptedHost(Deciding())
    settings = Settings(patience=Patience(poll_s_min=POLL_S))
    with tempfile.TemporaryDirectory() as folder, reached(host):
        database = Path(folder) / "state.db"
        async with Coordinator.open(f"sqlite:///{database}", CATALOG, settings=settings) as coordinator:

            async def submit(command: str, **parameters: Any) -> Any:
                return await coordinator.submit_input(command, parameters, user="admin", correlation_id="ticket-1")

            for command, parameters in (
                ("host.add", {"name": "h1", "address": "h1.example.org"}),
                ("storage.add", {"name": "sd1", "host": "h1", "path": "/srv/images"}),
                ("vm.add", {"name": "web1", "domain": "sd1", "disks": ["1GiB", "2GiB:RAW"]}),
                ("disk.add", {"name": "lost", "domain": "sd1", "size": "1GiB"}),
            ):
                await coordinator.wait_ended((await submit(command, **parameters)).id, WAIT_S)
            await submit("vm.remove", vm="web1")
            await submit("test.add_two_disks", domain="sd1")
            what = "two flows are in the middle of their work"
            await asyncio.to_thread(wait_for, what, lambda: _asked(database) == (2, 0, 3), within_s=WAIT_S)
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)


def _asked(database: Path) -> tuple[int, ...]:
    with closing(sqlite3.connect(database)) as connection:
        found: tuple[int, ...] = connection.execute(UNDER_WAY).fetchone()
    return found


def dump(path: Path) -> str:
    """The database as SQL, without the name of the machine it was made on."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE engines SET host = 'engine.example.org', pid = 1")
        connection.commit()
        return "\n".join(connection.iterdump()) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.db"
        asyncio.run(make(path))
        FIXTURE.parent.mkdir(exist_ok=True)
        FIXTURE.write_text(dump(path), encoding="utf-8")
    print(f"wrote {FIXTURE}")


if __name__ == "__main__":
    main()
