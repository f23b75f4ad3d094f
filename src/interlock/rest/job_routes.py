"""Jobs: submit a command, list, show, follow."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from interlock.clock import SystemClock
from interlock.model.errors import InvalidInput, Missing
from interlock.model.states import StepStatus
from interlock.rest import errors
from interlock.rest.bodies import Settling, Submission, read
from interlock.rest.contract import Coordinating
from interlock.rest.reading import Reading, as_json, no_query
from interlock.views import changed, events, job, jobs
from interlock.views.why import explaining

#: how long a question for news may wait
WAIT_S_MAX = 30.0


class JobsQuery(BaseModel):
    """Which jobs are listed."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=jobs.PAGE_MAX)] = 50
    before: UUID | None = None
    status: StepStatus | None = None
    modified_since: Annotated[str, Field(max_length=100)] | None = None


class JobQuery(BaseModel):
    """How much of a job is shown."""

    model_config = ConfigDict(extra="forbid")

    brief: bool = False


class EventsQuery(BaseModel):
    """Which events are wanted, and how long to wait for the first."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, le=2**62)] = 0
    limit: Annotated[int, Field(ge=1, le=events.PAGE_MAX)] = events.PAGE_MAX
    wait_s: Annotated[float, Field(ge=0, le=WAIT_S_MAX, allow_inf_nan=False)] = 0.0


_SUBMISSION = {"content": {"application/json": {"schema": Submission.model_json_schema()}}, "required": True}
_SETTLING = {"content": {"application/json": {"schema": Settling.model_json_schema()}}, "required": True}


def router(coordinator: Coordinating, reading: Reading, stopping: asyncio.Event, user: str) -> APIRouter:
    """The routes under /jobs."""
    routes = APIRouter(prefix="/jobs")

    @routes.post("", status_code=201, dependencies=[Depends(no_query)], openapi_extra={"requestBody": _SUBMISSION})
    async def submit(request: Request) -> Response:
        """Submits a command. 201 with a new job; 200 where the idempotency key names one already."""
        wanted = await read(request, Submission)
        if wanted.correlation_id is not None:
            request.state.correlation_id = wanted.correlation_id
        try:
            accepted = await coordinator.submit_input(
                wanted.command,
                wanted.parameters,
                version=wanted.version,
                correlation_id=request.state.correlation_id,
                idempotency_key=wanted.idempotency_key,
                user=user,
                priority=wanted.priority,
                timeout_s=wanted.timeout_s,
                ask=wanted.ask,
                wait_for_locks=wanted.wait_for_locks,
                after=wanted.after,
                after_policy=wanted.after_policy,
            )
        except Missing as error:  # what it names is not there: the input is wrong, not the address
            return errors.refused(error, status=422)
        body = {"job_id": str(accepted.id), "repeated": accepted.repeated}
        headers = {"Location": f"{request.url.path}/{accepted.id}"}
        return as_json(body, 200 if accepted.repeated else 201, headers)

    @routes.post("/{job_id}/settle", dependencies=[Depends(no_query)], openapi_extra={"requestBody": _SETTLING})
    async def settle(job_id: UUID, request: Request) -> Response:
        """Decides about a command of the job that needs attention; answers the job, in brief."""
        wanted = await read(request, Settling)
        await coordinator.settle(
            job_id, wanted.decision, by=user, reason=wanted.reason, command_id=wanted.command_id,
            leave_tasks=wanted.leave_tasks,
        )  # fmt: skip
        return as_json(_there(await reading(job.brief, job_id), job_id))

    @routes.get("")
    async def list_jobs(query: Annotated[JobsQuery, Query()]) -> Response:
        """The jobs, newest first; with `modified_since`, those that changed after that cursor."""
        if query.modified_since is not None:
            if query.before is not None or query.status is not None:
                raise InvalidInput("modified_since stands alone; leave out before and status")
            return as_json(await reading(changed.jobs, query.modified_since, limit=query.limit))
        return as_json(await reading(jobs.page, limit=query.limit, before=query.before, status=query.status))

    @routes.get("/{job_id}")
    async def show_job(job_id: UUID, query: Annotated[JobQuery, Query()]) -> Response:
        """Everything of one job; with `brief`, without commands, tasks, locks and events."""
        return as_json(_there(await reading(job.brief if query.brief else job.one, job_id), job_id))

    @routes.get("/{job_id}/why", dependencies=[Depends(no_query)])
    async def why(job_id: UUID) -> Response:
        """What each command of the job that has not ended is waiting for, and the job in a line."""
        found = await reading(explaining.why, job_id, coordinator.hosts(), SystemClock().now_us())
        return as_json(_there(found, job_id))

    @routes.get("/{job_id}/events")
    async def list_events(job_id: UUID, query: Annotated[EventsQuery, Query()]) -> Response:
        """The job's events after a number; with `wait_s`, waits for the first unless the job has ended."""
        found = _there(await reading(events.after, job_id, query.after, limit=query.limit), job_id)
        if not found["events"] and not found["ended"] and query.wait_s > 0:
            await _news(coordinator, job_id, query.after, query.wait_s, stopping)
            found = _there(await reading(events.after, job_id, query.after, limit=query.limit), job_id)
        return as_json(found)

    return routes


def _there(found: dict[str, Any] | None, job_id: UUID) -> dict[str, Any]:
    if found is None:
        raise Missing(f"there is no job {job_id}; `interlock jobs` lists them")
    return found


async def _news(coordinator: Coordinating, job_id: UUID, seq: int, wait_s: float, stopping: asyncio.Event) -> None:
    """Returns when the job may have more events, at the timeout, or when the server is to stop."""
    changed = asyncio.ensure_future(coordinator.changed(job_id, seq, wait_s))
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({changed, stopped}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if changed.done():
            changed.result()  # its failure is the request's
    finally:
        changed.cancel()
        stopped.cancel()
        await asyncio.gather(changed, stopped, return_exceptions=True)
