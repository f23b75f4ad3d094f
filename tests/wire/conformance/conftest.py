"""Every rule is shown twice: with its bytes as the socket brings them, and fed one by one."""

import pytest

from interlock.wire.connection import Connection


@pytest.fixture(autouse=True, params=["whole", "byte by byte"])
def feeding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How our side of each connection gets what it receives."""
    if request.param == "whole":
        return
    whole = Connection.data_received

    def byte_by_byte(connection: Connection, data: bytes) -> None:
        for at in range(len(data)):
            whole(connection, data[at : at + 1])

    monkeypatch.setattr(Connection, "data_received", byte_by_byte)
