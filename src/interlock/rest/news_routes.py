"""News for jobs under way: signals, what monitors are told, answers of people; and several commands in one call."""

from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from interlock.coordinator.answers import EVERYTHING
from interlock.model.errors import Missing
from interlock.rest import errors
from interlock.rest.bodies import Answering, Calling, Reporting, Signalling, read
from interlock.rest.contract import Coordinating
from interlock.rest.reading import as_json, no_query

_NO_QUERY = [Depends(no_query)]


def _body(model: type[BaseModel]) -> dict[str, object]:
    content = {"application/json": {"schema": model.model_json_schema(ref_template="#/components/schemas/{model}")}}
    return {"requestBody": {"content": content, "required": True}}


def router(coordinator: Coordinating, user: str) -> APIRouter:
    """The routes of this module. Who may open the socket may do everything."""
    routes = APIRouter()

    @routes.post("/calls", status_code=201, dependencies=_NO_QUERY, openapi_extra=_body(Calling))
    async def call(request: Request) -> Response:
        """Submits several commands, all or none: 201 with their jobs; 200 where the idempotency key names them
        already."""
        wanted = await read(request, Calling)
        if wanted.correlation_id is not None:
            request.state.correlation_id = wanted.correlation_id
        try:
            jobs = await coordinator.submit_all_input(
                [(each.command, each.parameters, each.version) for each in wanted.commands], order=wanted.order,
                correlation_id=request.state.correlation_id, idempotency_key=wanted.idempotency_key, user=user,
                priority=wanted.priority,
            )  # fmt: skip
        except Missing as error:  # a parameter names nothing: the input is wrong, not the address
            return errors.refused(error, status=422)
        repeated = jobs[0].repeated
        return as_json({"job_ids": [str(job.id) for job in jobs], "repeated": repeated}, 200 if repeated else 201)

    @routes.post("/signals", status_code=201, dependencies=_NO_QUERY, openapi_extra=_body(Signalling))
    async def signal(request: Request) -> Response:
        """Accepts a signal: durable when this answers."""
        wanted = await read(request, Signalling)
        about = None if wanted.about is None else coordinator.named(wanted.about)
        id = await coordinator.signal(
            wanted.kind, about=about, job_id=wanted.job_id, data=wanted.data, by=user, signal_id=wanted.id
        )
        return as_json({"id": str(id)}, 201)

    @routes.post("/reports", dependencies=_NO_QUERY, openapi_extra=_body(Reporting))
    async def report(request: Request) -> Response:
        """Tells a monitor what was observed; what it writes is committed when this answers."""
        wanted = await read(request, Reporting)
        subject = coordinator.named(wanted.about)
        await coordinator.report(wanted.monitor, subject, wanted.report, by=user)
        return as_json({"about": str(subject)})

    @routes.get("/jobs/{job_id}/questions", dependencies=_NO_QUERY)
    async def questions(job_id: UUID) -> Response:
        """What the job asks people at present, with the JSON schema of each answer."""
        return as_json({"questions": await coordinator.questions(job_id)})

    @routes.post("/jobs/{job_id}/answer", dependencies=_NO_QUERY, openapi_extra=_body(Answering))
    async def answer(job_id: UUID, request: Request) -> Response:
        """Answers a question of the job (`task_id`, or the only one)."""
        given = await read(request, Answering)
        await coordinator.answer(job_id, given.answer, by=user, holds=EVERYTHING, task_id=given.task_id)
        return as_json({"job_id": str(job_id)})

    return routes
