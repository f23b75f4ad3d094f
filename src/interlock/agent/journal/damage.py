"""The report of a damaged journal, and the damaged file itself, kept aside for whoever wants to look."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from interlock.agent.journal.files import Files
from interlock.agent.journal.salvage import Run, Salvage
from interlock.agent.records import Entry

#: How many damaged files are kept; the oldest go first.
KEPT_MAX = 3
#: How many runs of lost records, and how many failed tasks, a report names.
NAMED_MAX = 1_000
_NAME = re.compile(r"journal\.damaged-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a journal's incarnation began: something that had been durable in the one before cannot be read."""

    #: The name of the damaged file beside the journal; None if there was none at all.
    kept_as: str | None
    #: The first byte of it that cannot be read.
    at_byte: int
    #: First and last numbers of records that are lost, at most `NAMED_MAX` such pairs.
    lost: tuple[Run, ...]
    #: The ids of at most `NAMED_MAX` of the tasks that were failed.
    failed: tuple[str, ...]
    failed_count: int
    #: None if it cannot be read either.
    former_incarnation: str | None

    @classmethod
    def of(cls, salvage: Salvage, *, kept_as: str | None, at_byte: int) -> Damage:
        """The report of what was saved and what was not."""
        return cls(
            kept_as=kept_as,
            at_byte=at_byte,
            lost=salvage.lost[:NAMED_MAX],
            failed=tuple(task.id for task in salvage.failed[:NAMED_MAX]),
            failed_count=len(salvage.failed),
            former_incarnation=salvage.former_incarnation,
        )

    @classmethod
    def from_entry(cls, entry: Entry) -> Damage:
        """The report as a journal's header has it, by the names of its fields."""
        lost = tuple((first, last) for first, last in entry["lost"])
        return cls(**{**entry, "lost": lost, "failed": tuple(entry["failed"])})


def keep(files: Files, folder: Path, data: bytes, aside: Path) -> str:
    """Makes a durable copy of a damaged journal, by way of `aside`, and returns its name.

    One that was made before a crash is found again. Of several copies the newest `KEPT_MAX` are kept.
    """
    numbers = sorted(int(found[1]) for name in files.names(folder) if (found := _NAME.fullmatch(name)))
    if not numbers or files.read(_copy(folder, numbers[-1])) != data:
        numbers.append(numbers[-1] + 1 if numbers else 1)
        file = files.append_to(aside, size=0)
        file.write(data)
        file.fsync()
        file.close()
        files.rename(aside, _copy(folder, numbers[-1]))
    for number in numbers[:-KEPT_MAX]:
        files.remove(_copy(folder, number))
    files.fsync_folder(folder)
    return _copy(folder, numbers[-1]).name


def _copy(folder: Path, number: int) -> Path:
    return folder / f"journal.damaged-{number}"
