"""The API's app: what answers under /api/v1."""

import asyncio
import os
import pwd

from fastapi import FastAPI

from interlock.rest import (
    action_routes,
    control_routes,
    errors,
    job_routes,
    limit_routes,
    news_routes,
    plan_routes,
    read_routes,
    schedule_routes,
)
from interlock.rest.contract import Commands, Coordinating
from interlock.rest.correlation import Correlation
from interlock.rest.reading import Reading

PREFIX = "/api/v1"


def create_app(coordinator: Coordinating, *, catalog: Commands, user: str | None = None) -> FastAPI:
    """The app. `user` is who all callers are (default: whose process this is): who may open the socket is
    that user.

    `app.state.stopping` is an asyncio.Event: once set, long polls answer at once.
    """
    app = FastAPI(
        title="Interlock",
        version="1",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
    )
    app.state.stopping = asyncio.Event()
    app.add_middleware(Correlation)
    errors.install(app)
    who = user if user is not None else _process_user()
    reading = Reading(coordinator)
    app.include_router(job_routes.router(coordinator, reading, app.state.stopping, who), prefix=PREFIX)
    app.include_router(control_routes.router(coordinator, reading, who), prefix=PREFIX)
    app.include_router(news_routes.router(coordinator, who), prefix=PREFIX)
    app.include_router(limit_routes.router(coordinator, reading, who), prefix=PREFIX)
    app.include_router(plan_routes.router(coordinator), prefix=PREFIX)
    app.include_router(schedule_routes.router(coordinator, reading, who), prefix=PREFIX)
    app.include_router(action_routes.router(coordinator, reading, who), prefix=PREFIX)
    app.include_router(read_routes.router(coordinator, catalog, reading, who), prefix=PREFIX)
    return app


def _process_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as in containers
        return str(os.getuid())
