"""How a volume takes the place of a former one, which is kept beside it until there is no way back.

What is kept has the id of the task in its name: a task brings back only what it has itself put away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from interlock.agent import durable
from interlock.agent.storage.domain import Volume


def set_aside(volume: Volume, task_id: str) -> None:
    """Renames the volume and its description, if they are there, out of the way."""
    for path, former in _names(volume, task_id):
        durable.ensure_renamed(path, former)


def put_back(volume: Volume, task_id: str) -> None:
    """Gives what was set aside its name again, whatever has it by now."""
    for path, former in _names(volume, task_id):
        durable.ensure_renamed(former, path)


def forget_former(volume: Volume, task_id: str) -> None:
    """Removes what was set aside; nothing there is fine."""
    for _, former in _names(volume, task_id):
        durable.remove_file(former)


def _names(volume: Volume, task_id: str) -> Iterator[tuple[Path, Path]]:
    for path in (volume.meta_path, volume.path):
        yield path, path.with_name(f"{path.name}.former.{task_id}")
