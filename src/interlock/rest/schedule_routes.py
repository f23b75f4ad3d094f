"""Schedules: made, listed, shown, changed, paused, resumed, removed."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from interlock.model.errors import Missing
from interlock.model.locks import PRIORITY_MAX
from interlock.model.schedules import LATE_S, LATE_S_MAX, Missed
from interlock.model.text import require_storable
from interlock.rest import errors
from interlock.rest.bodies import CORRELATION_ID, Body, read
from interlock.rest.contract import Coordinating
from interlock.rest.reading import Reading, as_json, no_query
from interlock.views import schedules

_NO_QUERY = [Depends(no_query)]
_Time = Annotated[str, Field(min_length=1, max_length=200)]
_Late = Annotated[int, Field(ge=0, le=LATE_S_MAX)]
_Priority = Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX)]


class Scheduled(Body):
    """A command that is to be run later (`at`), or again and again (`cron`, by the clocks of `zone`)."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    command: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[int, Field(ge=1)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)  # checked by the catalog
    cron: _Time | None = None
    at: _Time | None = None
    zone: _Time = "UTC"
    missed: Annotated[Missed, Field(strict=False)] = Missed.RUN
    late_s_max: _Late = LATE_S
    priority: _Priority = 0
    correlation_id: Annotated[str, Field(pattern=CORRELATION_ID)] | None = None


class Rescheduled(Body):
    """What is to be changed of a schedule; the rest stays."""

    reason: Annotated[str, Field(max_length=1000)] = ""
    cron: _Time | None = None
    at: _Time | None = None
    zone: _Time | None = None
    missed: Annotated[Missed, Field(strict=False)] | None = None
    late_s_max: _Late | None = None
    priority: _Priority | None = None


class Why(Body):
    """Why."""

    reason: Annotated[str, Field(max_length=1000)] = ""


class WhyQuery(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""


class SchedulesQuery(BaseModel):
    """Which schedules are listed."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=schedules.PAGE_MAX)] = 50
    after: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] | None = None


def _body(model: type[BaseModel]) -> dict[str, object]:
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}, "required": True}}


def router(coordinator: Coordinating, reading: Reading, user: str) -> APIRouter:
    """The routes under /schedules; `which` is a schedule's name or id."""
    routes = APIRouter(prefix="/schedules")

    async def shown(which: str, status: int = 200) -> Response:
        require_storable("the schedule's name", which)
        found = await reading(schedules.one, which)
        if found is None:
            raise Missing(f"there is no schedule {which!r}; `interlock schedule list` lists them")
        return as_json(found, status)

    @routes.post("", status_code=201, dependencies=_NO_QUERY, openapi_extra=_body(Scheduled))
    async def schedule(request: Request) -> Response:
        """Makes a schedule: durable when this answers."""
        wanted = await read(request, Scheduled)
        options = wanted.model_dump(exclude={"name", "command", "parameters", "version"})
        try:
            id = await coordinator.schedule_input(
                wanted.name, wanted.command, wanted.parameters, version=wanted.version, user=user, **options
            )
        except Missing as error:  # a parameter names nothing: the input is wrong, not the address
            return errors.refused(error, status=422)
        return await shown(str(id), 201)

    @routes.get("")
    async def list_schedules(query: Annotated[SchedulesQuery, Query()]) -> Response:
        """The schedules, by name."""
        return as_json(await reading(schedules.page, limit=query.limit, after=query.after))

    @routes.get("/{which}", dependencies=_NO_QUERY)
    async def show_schedule(which: str) -> Response:
        """A schedule, with its next runs and the jobs that it began last."""
        return await shown(which)

    @routes.patch("/{which}", dependencies=_NO_QUERY, openapi_extra=_body(Rescheduled))
    async def change_schedule(which: str, request: Request) -> Response:
        """Changes when it is due, and how."""
        wanted = await read(request, Rescheduled)
        await coordinator.change_schedule(which, by=user, **wanted.model_dump())
        return await shown(which)

    @routes.post("/{which}/pause", dependencies=_NO_QUERY, openapi_extra=_body(Why))
    async def pause_schedule(which: str, request: Request) -> Response:
        """Nothing of it begins until it is resumed."""
        await coordinator.pause_schedule(which, by=user, reason=(await read(request, Why)).reason)
        return await shown(which)

    @routes.post("/{which}/resume", dependencies=_NO_QUERY, openapi_extra=_body(Why))
    async def resume_schedule(which: str, request: Request) -> Response:
        """It goes on with what is due from now."""
        await coordinator.resume_schedule(which, by=user, reason=(await read(request, Why)).reason)
        return await shown(which)

    @routes.delete("/{which}")
    async def remove_schedule(which: str, query: Annotated[WhyQuery, Query()]) -> Response:
        """Removes it; jobs that it began go on."""
        await coordinator.remove_schedule(which, by=user, reason=query.reason)
        return as_json({"removed": which})

    return routes
