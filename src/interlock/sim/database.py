"""A real SQLite file in memory, one for each run after the other, and what its kernel does when its owner dies."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import Engine

from interlock.store.database import Database
from interlock.store.dialects.sqlite import SqlitePlace

_engines: dict[tuple[Path, bool], Engine] = {}


class SimPlace(SqlitePlace):
    """A `Place` whose engines live as long as this program, so that what they have compiled serves all runs."""

    def write_engine(self) -> Engine:
        return _engines.setdefault((self.path, True), super().write_engine())

    def read_engine(self) -> Engine:
        return _engines.setdefault((self.path, False), super().read_engine())


def fresh(file: Path, template: Path) -> None:
    """Puts a copy of a database in the place of that of the run before."""
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)
    shutil.copyfile(template, file)


def opened(file: Path) -> Database:
    """The database, owned. Raises NotOwner."""
    place = SimPlace(f"sqlite:///{file}")
    place.own()
    return Database(place, owned=True)


def looking(file: Path) -> Database:
    """The database, for reading."""
    return Database(SimPlace(f"sqlite:///{file}"), owned=False)
