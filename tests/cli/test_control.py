"""`interlock job cancel`, `stop`, `pause` and the like: what is asked of the server, and how the program ends."""

from typing import Any
from uuid import UUID

import pytest

from interlock.model.errors import Missing, Refused
from tests.cli.conftest import Interlock
from tests.cli.serving import Server
from tests.rest.fake import Job
from tests.views import picture

JOB = str(picture.RUNNING_JOB)
STEP = str(UUID(int=5))


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["cancel", JOB], {"what": "cancel", "reason": "", "target": None, "force": False}),
        (
            ["cancel", JOB, "--step", STEP, "--force", "--reason", "wrong disk"],
            {"what": "cancel", "reason": "wrong disk", "target": UUID(STEP), "force": True},
        ),
        (["stop", JOB, "--step", STEP], {"what": "stop_tasks", "reason": "", "target": UUID(STEP)}),
        (["pause", JOB, "--reason", "backup"], {"what": "pause", "reason": "backup"}),
        (["resume", JOB], {"what": "resume", "reason": ""}),
        (["priority", JOB, "--", "-3"], {"what": "set_priority", "priority": -3, "reason": ""}),
        (["hide", JOB], {"what": "set_visible", "visible": False, "reason": ""}),
        (["unhide", JOB], {"what": "set_visible", "visible": True, "reason": ""}),
    ],
)
def test_a_job_is_steered(server: Server, interlock: Interlock, words: list[str], asked: dict[str, Any]) -> None:
    ran = interlock("job", *words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1].startswith(JOB)
    assert server.coordinator.asked == [{"job_id": picture.RUNNING_JOB, "by": "ann", **asked}]
    server.coordinator.reply = Refused("it is too late, it has ended SUCCEEDED")
    ran = interlock("job", *words)
    assert (ran.code, ran.out, ran.err) == (1, "", "interlock: it is too late, it has ended SUCCEEDED\n")


def test_a_restart_prints_the_new_job(server: Server, interlock: Interlock) -> None:
    server.coordinator.reply = Job(UUID(int=9))
    ran = interlock("job", "restart", JOB, "--reason", "again", "--idempotency-key", "k")
    assert (ran.code, ran.out, ran.err) == (0, f"{UUID(int=9)}\n", "")
    ran = interlock("-o", "json", "job", "restart", JOB, "--idempotency-key", "k")
    assert (ran.code, '"repeated": false' in ran.out) == (0, True)
    server.coordinator.reply = Missing(f"there is no job {JOB}")
    assert interlock("job", "restart", JOB).code == 1


def test_what_cannot_be_meant_is_refused_before_anything_is_asked(server: Server, interlock: Interlock) -> None:
    for words in (["priority", JOB, "11"], ["cancel", "web1"], ["cancel", JOB, "--step", "x"], ["pause"]):
        assert interlock("job", *words).code == 64
    assert server.coordinator.asked == []
