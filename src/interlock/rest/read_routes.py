"""Everything but jobs: commands, entities, locks, leftovers, hosts."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from interlock.command import Command
from interlock.model.errors import Missing
from interlock.model.refs import Ref
from interlock.rest.bodies import Clearing, read
from interlock.rest.contract import Commands, Coordinating
from interlock.rest.reading import Reading, as_json, no_query
from interlock.views import entities, leftovers, locks

Json = dict[str, Any]
_CLEARING = {"content": {"application/json": {"schema": Clearing.model_json_schema()}}, "required": True}
_NO_QUERY = [Depends(no_query)]


class EntitiesQuery(BaseModel):
    """Which entities are listed."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=entities.PAGE_MAX)] = 50
    after: UUID | None = None


def router(coordinator: Coordinating, catalog: Commands, reading: Reading, user: str) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    @routes.get("/commands", dependencies=_NO_QUERY)
    async def list_commands() -> Response:
        """The commands that can be submitted, with the JSON schemas of their parameters."""
        return as_json({"commands": [_command(catalog, name) for name in _offered(catalog)]})

    @routes.get("/entities/{type}")
    async def list_entities(type: str, query: Annotated[EntitiesQuery, Query()]) -> Response:
        """The entities of a type, oldest first."""
        found = await reading(entities.page, type, limit=query.limit, after=query.after)
        if not found["entities"] and type not in catalog.entities:
            known = ", ".join(sorted(catalog.entities))
            raise Missing(f"there is no entity type {type!r}; there are: {known}")
        return as_json(found)

    @routes.get("/entities/{type}/{name:path}", dependencies=_NO_QUERY)
    async def show_entity(type: str, name: str) -> Response:
        """An entity by id or name: its fields, locks, referrers and jobs."""
        found = await reading(_entity, type, name)
        if found is None:
            raise Missing(f"there is no {type} {name!r}; `interlock entity {type}` lists them")
        return as_json(found)

    _simple(routes, "/locks", reading, locks.held, "Who holds what, longest held first.")
    _simple(routes, "/leftovers", reading, leftovers.still_open, "What flows could not clean, still open.")

    @routes.post(
        "/leftovers/{leftover_id}/clear",
        dependencies=_NO_QUERY,
        openapi_extra={"requestBody": _CLEARING},
    )
    async def clear_leftover(leftover_id: UUID, request: Request) -> Response:
        """Settles a leftover on the caller's word; its entities can be locked again."""
        clearing = await read(request, Clearing)
        await coordinator.clear_leftover(leftover_id, by=user, reason=clearing.reason)
        return as_json(await reading(leftovers.one, leftover_id))

    @routes.get("/hosts", dependencies=_NO_QUERY)
    async def list_hosts() -> Response:
        """The hosts, whether they are connected, and what they run."""
        return as_json({"hosts": coordinator.hosts()})

    @routes.get("/host-tasks", dependencies=_NO_QUERY)
    async def list_host_tasks() -> Response:
        """What each host has, asked of all of them now: tasks with their jobs, null where no job here began them."""
        return as_json({"hosts": await coordinator.host_tasks()})

    return routes


def _simple(routes: APIRouter, path: str, reading: Reading, view: Callable[[Connection], Json], doc: str) -> None:
    """A route that shows a view without parameters."""

    async def show() -> Response:
        return as_json(await reading(view))

    show.__doc__ = doc
    routes.add_api_route(path, show, methods=["GET"], name=path.strip("/"), dependencies=_NO_QUERY)


def _offered(catalog: Commands) -> list[str]:
    return sorted(name for name, cls in catalog.commands.items() if not cls.command_type.internal)


def _command(catalog: Commands, name: str) -> Json:
    cls = catalog.commands[name]
    return {
        "name": name,
        "version": cls.command_type.version,
        "doc": _doc(cls),
        "schema": catalog.schema(name),
    }


def _doc(cls: type[Command[Any]]) -> str:
    """A command's docstring; not the signature that dataclasses write where there is none."""
    text = cls.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{cls.__name__}(") else inspect.cleandoc(text)


def _entity(connection: Connection, type: str, name: str) -> Json | None:
    """By id where it is one, otherwise by name."""
    try:
        found = entities.one(connection, Ref(type, UUID(name)))
    except ValueError:
        found = None
    if found is not None:
        return found
    id = entities.named(connection, type, name)
    return None if id is None else entities.one(connection, Ref(type, id))
