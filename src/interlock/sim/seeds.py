"""What all runs share: a folder in memory, and the database that each begins with."""

import asyncio
import gc
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import structlog

from interlock.coordinator.coordinator import Coordinator
from interlock.sim.generated import Generated
from interlock.sim.sites import Site
from interlock.sim.virtualization import Virtualization

_MEMORY = Path("/dev/shm")
#: what seeds run, in turn: every third one the commands of virtualization
SITES: tuple[Site, ...] = (Generated(), Generated(), Virtualization())


def site_of(seed: int) -> Site:
    """What a seed runs."""
    return SITES[seed % len(SITES)]


@contextmanager
def prepared() -> Iterator[Path]:
    """A folder with the databases that runs begin with, gone at the end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = Path(tempfile.mkdtemp(prefix="interlock-sim-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    try:
        for site in dict.fromkeys(SITES):
            if not template_of(folder, site).exists():
                asyncio.run(_found(template_of(folder, site), site))
        with _quietly_forgotten():
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _quietly_forgotten() -> Iterator[None]:
    """What was killed in the middle of something is collected in the middle of it, of which Python would complain;
    and only now and then, without looking through all that was imported."""
    gc.collect()
    gc.freeze()
    gc.disable()
    former, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = former
        gc.enable()
        gc.unfreeze()


def template_of(folder: Path, site: Site) -> Path:
    """The database with which runs of a site begin."""
    return folder / f"{site.name}.db"


async def _found(file: Path, site: Site) -> None:
    catalog, command = site.found
    async with Coordinator.open(f"sqlite:///{file}", catalog) as coordinator:
        job = await coordinator.submit(command)
        await job.result()
    with closing(sqlite3.connect(file)) as connection:  # all of it in the one file
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
