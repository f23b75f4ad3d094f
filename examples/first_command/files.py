"""What the example does outside of the database: local functions, each safe to run again after a crash."""

import os
import shutil
from pathlib import Path


def copy_files(source: str, target: str) -> int:
    """Copies a folder's files; answers how many there are."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return sum(1 for path in Path(target).rglob("*") if path.is_file())


def remove_files(target: str) -> None:
    """Removes a folder; nothing happens where there is none."""
    if Path(target).exists():
        shutil.rmtree(target)


def point_at(link: str, target: str) -> None:
    """Makes the link show another folder, from one moment to the next. Refuses one that has no first page."""
    if not (Path(target) / "index.html").exists():
        raise ValueError(f"{target} has no index.html; nobody could read the site")
    aside = Path(f"{link}.new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, link)
