"""What the coordinator takes from the machine it runs on, so that a simulator can hand in its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from interlock.coordinator.change_set import ChangeSet
from interlock.store.database import Database
from interlock.threads import SystemThreads, Threads


def _unseen(_stored: Sequence[ChangeSet]) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Machine:
    """Its threads, how databases are opened, and who is shown what each transaction has stored."""

    threads: Threads = field(default_factory=SystemThreads)
    open_database: Callable[[str], Database] = Database.open
    #: called by the writer right after each commit, before anybody else hears of it
    committed: Callable[[Sequence[ChangeSet]], None] = _unseen


MACHINE = Machine()
