"""Limits: list them with how full they are, set and remove them."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from interlock.clock import SystemClock
from interlock.model.errors import Missing
from interlock.rest import errors
from interlock.rest.bodies import LimitRemoving, LimitSetting, read
from interlock.rest.contract import Coordinating
from interlock.rest.reading import Reading, as_json, no_query
from interlock.views import limits

_SETTING = {"content": {"application/json": {"schema": LimitSetting.model_json_schema()}}, "required": True}
_REMOVING = {"content": {"application/json": {"schema": LimitRemoving.model_json_schema()}}, "required": True}


def router(coordinator: Coordinating, reading: Reading, user: str) -> APIRouter:
    """The routes under /limits."""
    routes, clock = APIRouter(prefix="/limits"), SystemClock()

    @routes.get("", dependencies=[Depends(no_query)])
    async def list_limits() -> Response:
        """All limits, by key."""
        return as_json(await reading(limits.page, clock.now_us()))

    @routes.post("", dependencies=[Depends(no_query)], openapi_extra={"requestBody": _SETTING})
    async def set_limit(request: Request) -> Response:
        """Sets a limit, or sets it otherwise; answers its key as it is kept."""
        wanted = await read(request, LimitSetting)
        try:
            key = await coordinator.set_limit(
                wanted.key, at_most=wanted.at_most, starts_max=wanted.starts_max, window_s=wanted.window_s, by=user,
                reason=wanted.reason,
            )  # fmt: skip
        except Missing as error:  # what the key names is not there: the input is wrong, not the address
            return errors.refused(error, status=422)
        return as_json({"key": key})

    @routes.post("/remove", dependencies=[Depends(no_query)], openapi_extra={"requestBody": _REMOVING})
    async def remove_limit(request: Request) -> Response:
        """Removes a limit; what waits because of it goes on."""
        wanted = await read(request, LimitRemoving)
        await coordinator.remove_limit(wanted.key, by=user, reason=wanted.reason)
        return as_json({"key": wanted.key})

    return routes
