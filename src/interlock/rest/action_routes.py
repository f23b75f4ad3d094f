"""What people did, and the check of the database, which their chain of actions is a part of."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from interlock import invariants
from interlock.rest.contract import Coordinating
from interlock.rest.reading import Reading, as_json
from interlock.views import actions


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


def router(coordinator: Coordinating, reading: Reading) -> APIRouter:
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

    return routes


def verified(connection: Connection, *, noted_digest: str | None = None) -> dict[str, Any]:
    """What breaks an invariant, and the last action."""
    found = invariants.check(connection, noted_digest=noted_digest)
    violations = [{"number": each.number, "message": each.message} for each in found]
    return {"violations": violations, "last_action": actions.last(connection)}
