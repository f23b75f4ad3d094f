"""Plans: what a command would do, without doing it."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from interlock.coordinator.preview import Preview, PreviewCommand, PreviewLock, PreviewTask
from interlock.model.errors import Missing
from interlock.rest import errors
from interlock.rest.bodies import Planning, read
from interlock.rest.contract import Coordinating
from interlock.rest.reading import as_json, no_query

Json = dict[str, Any]
_PLANNING = {"content": {"application/json": {"schema": Planning.model_json_schema()}}, "required": True}


def router(coordinator: Coordinating) -> APIRouter:
    """The route of this module."""
    routes = APIRouter()

    @routes.post("/plans", dependencies=[Depends(no_query)], openapi_extra={"requestBody": _PLANNING})
    async def plan(request: Request) -> Response:
        """The tree of what a command would do, and its refusals if any. Nothing happens."""
        wanted = await read(request, Planning)
        try:
            found = await coordinator.plan_input(wanted.command, wanted.parameters, version=wanted.version)
        except Missing as error:  # a parameter names nothing: the input is wrong, not the address
            return errors.refused(error, status=422)
        return as_json(_preview(found))

    return routes


def _preview(found: Preview) -> Json:
    return {"command": _command(found.command), "refusals": list(found.refusals), "waits": list(found.waits)}


def _command(each: PreviewCommand) -> Json:
    return {
        "kind": "command",
        "name": each.name,
        "title": each.title,
        "key": each.key,
        "role": each.role,
        "step": each.step,
        "begins": each.begins,
        "result": each.result,
        "failure": each.failure,
        "after": list(each.after),
        "choice": each.choice,
        "pool": each.pool,
        "at_most": each.at_most,
        "stop_on_failure": each.stop_on_failure,
        "retry": None if each.retry is None else asdict(each.retry),
        "no_return": each.no_return,
        "best_effort": each.best_effort,
        "timeout_s": each.timeout_s,
        "locks": [_lock(lock) for lock in each.locks],
        "parts": [_command(part) if isinstance(part, PreviewCommand) else _task(part) for part in each.parts],
    }


def _lock(each: PreviewLock) -> Json:
    return {"ref": str(each.ref), "name": each.name, "mode": each.mode, "free": each.free}


def _task(each: PreviewTask) -> Json:
    return {
        "kind": "task",
        "method": each.method,
        "host": None if each.host is None else str(each.host),
        "host_name": each.host_name,
        "step": each.step,
        "best_effort": each.best_effort,
        "timeout_s": each.timeout_s,
    }
