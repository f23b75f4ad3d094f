"""Journals as a killed agent leaves them."""

from __future__ import annotations

from pathlib import Path

from interlock.agent import durable
from interlock.agent.journal.files import RealFiles
from interlock.agent.journal.journal import Journal
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import HostTask
from interlock.agent.tasks.table import TaskTable


async def left(folder: Path, *tasks: HostTask) -> None:
    """A journal that tells of tasks in these states, as an agent that was killed leaves it."""
    state = folder / "state"
    durable.make_folder(state)
    table = TaskTable(journal := Journal(state, RealFiles()), Ledger(), is_stock=False, publish=lambda status: None)
    table.load()
    for task in tasks:
        table.add(task)
    await journal.close()
