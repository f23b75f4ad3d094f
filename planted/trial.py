"""One trial: a copy of the code with one bug in it, and seeds until one fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from planted.bug import Bug

ROOT = Path(__file__).parent.parent
#: what starts a problem that a check has found, and not a stack trace
_OF_A_CHECK = re.compile(r"invariant (\d+): ")
_WORDS_MAX = 400


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a bug. `number` is that of the invariant that noticed it, None where it was none."""

    bug: Bug
    seeds: int
    seed: int | None
    number: int | None
    words: str

    @property
    def is_caught(self) -> bool:
        """Whether a seed failed."""
        return self.seed is not None

    @property
    def is_expected(self) -> bool:
        """Whether it was noticed as it ought to be."""
        return self.number in self.bug.expected

    @property
    def caught_by(self) -> str:
        """What noticed it, for people."""
        if not self.is_caught:
            return "nothing"
        return "a stack trace" if self.number is None else f"invariant {self.number}"


def tried(bug: Bug, seeds: int, first: int = 0) -> Trial:
    """Plants the bug in a copy of the code and runs seeds until one fails. Raises DoesNotFit."""
    with tempfile.TemporaryDirectory(prefix="interlock-planted-") as folder:
        sources = Path(folder) / "src"
        shutil.copytree(ROOT / "src", sources, ignore=shutil.ignore_patterns("__pycache__"))
        bug.plant(sources)
        return _judged(bug, seeds, first, _run(sources, seeds, first))


def _run(sources: Path, seeds: int, first: int) -> str:
    """The last line of the hunt's output; what it said of its own end where there is none."""
    command = [sys.executable, "-m", "planted.hunt", str(seeds), str(first)]
    environment = {**os.environ, "PYTHONPATH": f"{sources}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = ran.stdout.splitlines()
    if ran.returncode == 0 and lines:
        return lines[-1]
    return json.dumps(
        {"seeds": seeds, "seed": None, "problem": f"the hunt ended with {ran.returncode}: {ran.stderr[-_WORDS_MAX:]}"}
    )


def _judged(bug: Bug, seeds: int, first: int, line: str) -> Trial:
    found = json.loads(line)
    problem = found["problem"] or f"seeds {first} to {first + seeds - 1} passed"
    number = _OF_A_CHECK.match(problem)
    return Trial(bug, found["seeds"], found["seed"], None if number is None else int(number[1]), problem[:_WORDS_MAX])
