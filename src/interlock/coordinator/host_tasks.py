"""What hosts have, whoever began it: asked of every host, and held against the rows.

What no row knows was begun by somebody else, or by a coordinator whose place a restored backup has taken. It is told,
and left alone (hard case 19).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock.catalog import Catalog
from interlock.coordinator.acting import Acting
from interlock.hosts.backend import HostRefused, NotNow, NotSent, Report, Unanswered, Unreachable
from interlock.model.entities import HostEntity
from interlock.model.records import EntityRecord
from interlock.store.database import Database
from interlock.store.queries import entities, tasks

T = TypeVar("T")
_log = structlog.get_logger(__name__)

#: how many hosts are asked at once, and how long one may take
HOSTS_AT_ONCE, ANSWER_S = 16, 20.0


async def of_all(database: Database, catalog: Catalog, acting: Acting) -> list[dict[str, Any]]:
    """Of each host its tasks, with the job of each, None where no row knows it; or why it did not tell."""
    turn = asyncio.Semaphore(HOSTS_AT_ONCE)

    async def one(host: EntityRecord) -> dict[str, Any]:
        found: Mapping[str, Report] = {}
        problem = None
        async with turn:
            try:
                async with asyncio.timeout(ANSWER_S):
                    found = await acting.tasks_on(host.ref)
            except TimeoutError:
                problem = f"it has not answered within {ANSWER_S:g} s"
            except (Unreachable, NotSent, Unanswered, NotNow, HostRefused) as error:
                problem = str(error)
            except Exception as error:  # of one host, whatever is wrong with it: the others are told of
                _log.error("host_tasks_failed", host=str(host.ref), exc_info=error)
                problem = f"{type(error).__name__}: {error}"
        jobs = await asyncio.to_thread(_read, database, lambda connection: tasks.jobs_of(connection, host.ref, found))
        return {
            "host": host.name or str(host.ref.id),
            "id": str(host.ref.id),
            "problem": problem,
            "tasks": [_told(id, report, jobs.get(id)) for id, report in sorted(found.items())],
        }

    types = [name for name, each in catalog.entities.items() if issubclass(each, HostEntity)]
    known = await asyncio.to_thread(_read, database, lambda connection: entities.of_types(connection, types))
    return list(await asyncio.gather(*map(one, known)))


def _read(database: Database, question: Callable[[Connection], T]) -> T:
    with database.reading() as connection:
        return question(connection)


def _told(id: str, report: Report, job: UUID | None) -> dict[str, Any]:
    return {
        "task": id,
        "state": report.host_state,
        "result": report.host_result,
        "message": report.message,
        "job": None if job is None else str(job),
    }
