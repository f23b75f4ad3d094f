"""The door for the person at the host: where it is, and what can be asked there beyond the verbs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from interlock.agent.tasks.intake import TASKS_MAX
from interlock.verbs import Verb
from interlock.wire.limits import DEFAULT_LIMITS

#: The statuses of a full task table, some 300 bytes each, must fit into one answer.
BODY_BYTES_MAX = 4 << 20
LIMITS = replace(DEFAULT_LIMITS, body_bytes_max=BODY_BYTES_MAX, send_buffer_bytes_max=4 * BODY_BYTES_MAX)


def socket_path(state_dir: Path) -> Path:
    """The socket that the agent of this state folder listens on."""
    return state_dir / "agent.sock"


class GetTasks(Verb):
    """The tasks, unfinished and then newest first: `{tasks, total, unfinished, journal_damage}`."""

    method: ClassVar[str] = "Agent.getTasks"
    limit: Annotated[int, Field(ge=1, le=TASKS_MAX)]


class GetTask(Verb):
    """All that the agent knows of one task. The beginning of its id will do, where no other task has it."""

    method: ClassVar[str] = "Agent.getTask"
    taskID: Annotated[str, StringConstraints(pattern="^[0-9a-f-]{4,36}$")]
