"""A server that is killed with SIGKILL before and after every commit of something, and started again each time."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from interlock.testing.site import Site
from tests.killing import loop


def kill_at_each(
    site: Site,
    prepare: Callable[[str], Any],
    run: Callable[[str], None],
    judge: Callable[[str], bool],
    *,
    at_least: int,
    unsure: int = 2,
) -> int:
    """Counts the commits of a run that nobody kills; then one run for each side of each of them, but the last that are
    `unsure`: how many there are depends on which looks meet. `judge` says whether there is anything left; a run has
    `at_least` so many commits. Returns how often it was killed."""
    prepare("recorded")
    site.arm("record:0:before")
    run("recorded")
    commits = [number for name, number in site.hits() if name == "commit"]
    assert len(commits) >= at_least
    wanted = commits[: len(commits) - unsure]
    for number in wanted:
        for side in ("before", "after"):
            name = f"run{number}{side}"
            prepare(name)
            site.arm(f"commit:{number}:{side}")
            with suppress(httpx.TransportError):
                run(name)
            assert site.server_died_of_sigkill(), f"{name} was not reached"
            site.disarm()
            site.start_server(*loop.OPTIONS, environment=site.failpoints())
            assert judge(name) or (number, side) == (1, "before"), f"{name}: what was accepted is gone"
            loop.nothing_open(site, name)
    print(f"killed {2 * len(wanted)} times")
    return 2 * len(wanted)
