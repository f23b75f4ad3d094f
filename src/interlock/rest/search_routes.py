"""Searching, what has changed, and what may be written in a query."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from interlock.clock import SystemClock
from interlock.model.errors import Missing
from interlock.rest.contract import Commands
from interlock.rest.reading import Reading, as_json
from interlock.views import changed
from interlock.views.search import commands, completing, entities, events, jobs, searching, steps
from interlock.views.search.lexing import LENGTH_MAX
from interlock.views.search.sources import Collection

#: letters of a cursor
_CURSOR_MAX = 4 * LENGTH_MAX

QueryText = Annotated[str, Field(max_length=LENGTH_MAX)]
Limit = Annotated[int, Field(ge=1, le=searching.PAGE_MAX)]


class Searched(StrEnum):
    """What can be searched; entities, by their type, beside these."""

    JOBS = "jobs"
    EVENTS = "events"
    STEPS = "steps"
    COMMANDS = "commands"


COLLECTIONS = {
    Searched.JOBS: jobs.JOBS,
    Searched.EVENTS: events.EVENTS,
    Searched.STEPS: steps.STEPS,
    Searched.COMMANDS: commands.COMMANDS,
}


class Asked(BaseModel):
    """A query, and which of its pages; `after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    query: QueryText = ""
    limit: Limit = 50
    after: Annotated[str, Field(max_length=_CURSOR_MAX)] | None = None


class Followed(BaseModel):
    """Events after a number; without one, those after now."""

    model_config = ConfigDict(extra="forbid")

    query: QueryText = ""
    limit: Limit = 100
    after: Annotated[int, Field(ge=0, le=2**62)] | None = None


class Begun(BaseModel):
    """A query that is being written, and where the writer is: after so many letters."""

    model_config = ConfigDict(extra="forbid")

    text: QueryText = ""
    position: Annotated[int, Field(ge=0, le=LENGTH_MAX)] | None = None


def router(catalog: Commands, reading: Reading) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()
    types = sorted(catalog.entities)

    async def search(collection: Collection, asked: Asked) -> Response:
        wanted = searching.Search(collection, asked.query, types, SystemClock().now_us())
        return as_json(await reading(searching.page, wanted, limit=asked.limit, after=asked.after))

    def of_type(type: str) -> Collection:
        if type not in catalog.entities:
            raise Missing(f"there is no entity type {type!r}; there are: {', '.join(types)}")
        return entities.of_type(type)

    @routes.get("/search/entities/{type}")
    async def search_entities(type: str, asked: Annotated[Asked, Query()]) -> Response:
        """The entities of a type for which a query holds."""
        return await search(of_type(type), asked)

    @routes.get("/search/entities/{type}/fields")
    async def entity_fields(type: str) -> Response:
        """What may be asked of entities."""
        return as_json(completing.described(of_type(type), types))

    @routes.get("/search/entities/{type}/complete")
    async def complete_entities(type: str, begun: Annotated[Begun, Query()]) -> Response:
        """How a query over entities may go on."""
        found = await reading(completing.complete, of_type(type), begun.text, begun.position, types)
        return as_json(found)

    @routes.get("/search/{searched}")
    async def search_rows(searched: Searched, asked: Annotated[Asked, Query()]) -> Response:
        """The rows for which a query holds, in its order."""
        return await search(COLLECTIONS[searched], asked)

    @routes.get("/search/{searched}/fields")
    async def fields(searched: Searched) -> Response:
        """What may be asked."""
        return as_json(completing.described(COLLECTIONS[searched], types))

    @routes.get("/search/{searched}/complete")
    async def complete(searched: Searched, begun: Annotated[Begun, Query()]) -> Response:
        """How a query may go on."""
        found = await reading(completing.complete, COLLECTIONS[searched], begun.text, begun.position, types)
        return as_json(found)

    @routes.get("/events")
    async def follow(followed: Annotated[Followed, Query()]) -> Response:
        """The events of all jobs after a number, in the order of their commits."""
        wanted = searching.Search(events.EVENTS, followed.query, types, SystemClock().now_us())
        return as_json(await reading(_follow, wanted, followed.after, limit=followed.limit))

    return routes


def _follow(connection: Connection, wanted: searching.Search, after: int | None, *, limit: int) -> dict[str, Any]:
    number = changed.newest_event(connection) if after is None else after
    return searching.follow(connection, wanted, number, limit=limit)
