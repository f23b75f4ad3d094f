"""Keeping: what people did, the check of the database, and how long ended jobs are kept."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from interlock import invariants
from interlock.rest.contract import Coordinating
from interlock.rest.reading import Reading, as_json, no_query
from interlock.views import actions

#: how long removing may take before it is answered
RUN_S_MAX = 15.0


class ActionsQuery(BaseModel):
    """Which actions are listed. `subject` is job:ID, leftover:ID, schedule:ID, TYPE:NAME or TYPE:ID."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=actions.PAGE_MAX)] = 50
    before: Annotated[int, Field(ge=1, le=2**62)] | None = None
    subject: Annotated[str, Field(min_length=3, max_length=300)] | None = None
    by: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")] | None = None


class VerifyQuery(BaseModel):
    """What was noted elsewhere before: the digest of an action."""

    model_config = ConfigDict(extra="forbid")

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


def router(coordinator: Coordinating, reading: Reading, user: str) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    @routes.get("/actions")
    async def list_actions(query: Annotated[ActionsQuery, Query()]) -> Response:
        """What people did, the newest first: who, when, what, upon what, why, before and after."""
        subject = None if query.subject is None else coordinator.subject(query.subject)
        return as_json(
            await reading(actions.page, limit=query.limit, before=query.before, subject=subject, by=query.by)
        )

    @routes.get("/verify")
    async def verify(query: Annotated[VerifyQuery, Query()]) -> Response:
        """Every promise that the database can show, checked; and the last action's digest, to be noted elsewhere."""
        return as_json(await reading(verified, noted_digest=query.digest))

    @routes.get("/retention", dependencies=[Depends(no_query)])
    async def show_retention() -> Response:
        """How long ended jobs are kept, how many would go now, and why others are kept."""
        would_go = await asyncio.to_thread(coordinator.would_go)
        return as_json({"settings": coordinator.retention(), "would_go": would_go.to_json()})

    @routes.post("/retention/run", dependencies=[Depends(no_query)])
    async def run_retention() -> Response:
        """Removes what retention lets go; with `more` it took too long for one answer, and may be asked again."""
        done = await coordinator.clean(by=user, limit_s=RUN_S_MAX)
        return as_json({"removed": done.to_json()})

    return routes


def verified(connection: Connection, *, noted_digest: str | None = None) -> dict[str, Any]:
    """What breaks an invariant, and the last action."""
    found = invariants.check(connection, noted_digest=noted_digest)
    violations = [{"number": each.number, "message": each.message} for each in found]
    return {"violations": violations, "last_action": actions.last(connection)}
