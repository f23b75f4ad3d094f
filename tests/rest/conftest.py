"""The API over a fake coordinator and a database of hand-made rows."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from interlock.rest.api import create_app
from tests.databases import new_file
from tests.rest.fake import CATALOG, FakeCoordinator
from tests.views import picture


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged; the lines are dicts."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[FakeCoordinator]:
    with picture.paint(new_file(tmp_path / "state.db")) as database:
        yield FakeCoordinator(database)


@pytest.fixture
def app(coordinator: FakeCoordinator) -> FastAPI:
    return create_app(coordinator, catalog=CATALOG, user="ann")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://interlock/api/v1") as opened:
        yield opened
