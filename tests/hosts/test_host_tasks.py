"""What hosts have is told of all hosts, whatever is wrong with one."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock import Ref
from interlock.coordinator.acting import Acting
from tests.hosts.driving import Driven
from tests.hosts.scripted import hosting


async def test_a_bug_met_at_one_host_was_told_without_its_kind_and_logged_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(acting: Acting, host: Ref[Any]) -> None:
        raise KeyError("of ours")

    async with hosting() as host, Driven(tmp_path).opened() as driven:
        await driven.thing(host.port)
        monkeypatch.setattr(Acting, "tasks_on", broken)
        with capture_logs() as logs:
            [told] = await driven.coordinator.host_tasks()
    assert told["problem"] == "KeyError: 'of ours'"
    [logged] = [each for each in logs if each["event"] == "host_tasks_failed"]
    assert isinstance(logged["exc_info"], KeyError)
