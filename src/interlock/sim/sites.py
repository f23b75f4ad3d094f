"""What there is to be run: a catalog, what every run begins with, what people submit, and what must be true of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from interlock.catalog import Catalog
from interlock.command import Command
from interlock.model.records import TaskRecord
from interlock.sim.storage import Storage

#: how many hosts a run has
HOSTS = 2


def host(number: int) -> UUID:
    """The id of a host's entity."""
    return UUID(int=0x1000 + number)


def port_of(number: int) -> int:
    """Where its agent listens."""
    return 7001 + number


@dataclass(frozen=True)
class Submission:
    """A command by its name, as a person writes it."""

    command: str
    parameters: dict[str, Any]  # JSON


class Site(Protocol):
    """One kind of thing to run."""

    @property
    def name(self) -> str: ...

    @property
    def catalog(self) -> Catalog:
        """Of the coordinator."""

    @property
    def found(self) -> tuple[Catalog, Command[Any]]:
        """The command that makes the entities which every run begins with, and its catalog."""

    def submissions(self, chance: Random, count: int) -> list[Submission]:
        """What people submit in one run, in the order of their numbers."""

    def untrue(self, connection: Connection, storages: Sequence[Storage], tasks: Sequence[TaskRecord]) -> Iterator[str]:
        """What the entities say at the end and is not so."""
