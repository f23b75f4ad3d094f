"""Control: what people do to a job: cancel, stop, pause, let it go on, restart, change its priority, hide it."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from interlock.model.errors import Missing
from interlock.rest.bodies import Cancelling, Prioritizing, Restarting, Stopping, Wishing, read
from interlock.rest.contract import Coordinating
from interlock.rest.reading import Reading, as_json, no_query
from interlock.views import job

B = TypeVar("B", bound=BaseModel)


def router(coordinator: Coordinating, reading: Reading, user: str) -> APIRouter:
    """The routes under /jobs/{job_id} that change it. All but restart answer the job, in brief."""
    routes = APIRouter(prefix="/jobs/{job_id}", dependencies=[Depends(no_query)])

    def route(path: str, body: type[B], act: Callable[[UUID, B], Awaitable[Any]], told: str) -> None:
        async def wish(job_id: UUID, request: Request) -> Response:
            await act(job_id, await read(request, body))
            found = await reading(job.brief, job_id)
            if found is None:
                raise Missing(f"there is no job {job_id}; `interlock jobs` lists them")
            return as_json(found)

        wish.__doc__ = told
        schema = {"content": {"application/json": {"schema": body.model_json_schema()}}, "required": True}
        routes.post(path, name=path.strip("/"), openapi_extra={"requestBody": schema})(wish)

    async def cancel(job_id: UUID, wanted: Cancelling) -> None:
        await coordinator.cancel(job_id, by=user, reason=wanted.reason, target=wanted.target, force=wanted.force)

    async def stop(job_id: UUID, wanted: Stopping) -> None:
        await coordinator.stop_tasks(job_id, by=user, reason=wanted.reason, target=wanted.target)

    async def pause(job_id: UUID, wanted: Wishing) -> None:
        await coordinator.pause(job_id, by=user, reason=wanted.reason)

    async def resume(job_id: UUID, wanted: Wishing) -> None:
        await coordinator.resume(job_id, by=user, reason=wanted.reason)

    async def hide(job_id: UUID, wanted: Wishing) -> None:
        await coordinator.set_visible(job_id, visible=False, by=user, reason=wanted.reason)

    async def unhide(job_id: UUID, wanted: Wishing) -> None:
        await coordinator.set_visible(job_id, visible=True, by=user, reason=wanted.reason)

    async def prioritize(job_id: UUID, wanted: Prioritizing) -> None:
        await coordinator.set_priority(job_id, wanted.priority, by=user, reason=wanted.reason)

    route("/cancel", Cancelling, cancel, "Cancels the job, or a part of it; with `force` abandons what does not end.")
    route("/stop", Stopping, stop, "Asks hosts to stop all tasks of the job, or of a part of it.")
    route("/pause", Wishing, pause, "Nothing of the job that has not begun begins.")
    route("/resume", Wishing, resume, "A paused job goes on.")
    route("/hide", Wishing, hide, "Lists do not show the job any more.")
    route("/unhide", Wishing, unhide, "Lists show the job again.")
    route("/priority", Prioritizing, prioritize, "Changes the job's priority, also while it waits.")

    body = {"content": {"application/json": {"schema": Restarting.model_json_schema()}}, "required": True}

    @routes.post("/restart", status_code=201, openapi_extra={"requestBody": body})
    async def restart(job_id: UUID, request: Request) -> Response:
        """Does an ended job once more, as a new one. 200 where the idempotency key names one already."""
        wanted = await read(request, Restarting)
        accepted = await coordinator.restart(
            job_id, by=user, reason=wanted.reason, idempotency_key=wanted.idempotency_key
        )
        jobs_path = request.url.path.rsplit("/", 2)[0]
        headers = {"Location": f"{jobs_path}/{accepted.id}"}
        answer = {"job_id": str(accepted.id), "repeated": accepted.repeated}
        return as_json(answer, 200 if accepted.repeated else 201, headers)

    return routes
