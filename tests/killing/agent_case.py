"""What is done over and over: a call, what it is made on, how it is to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from interlock.verbs import Code, Verb
from tests.killing.agent_storage import Storage

SUCCESS = "success"
#: A child may be lost, because its agent died between naming and starting it; then the task is undone.
INTERRUPTED = frozenset({f"cleanSuccess {Code.INTERRUPTED:d}"})
#: What stands for the storage root in parameters.
ROOT = "<root>"

Params = Mapping[str, Any]  # Any: JSON values


class Way(Enum):
    """What is done while the agent is killed."""

    #: The call, to its end.
    CALL = "call"
    #: The call, and `Task.stop` as soon as a child of it is at work.
    STOP = "stop"
    #: `Task.revert` of a call that has succeeded.
    REVERT = "revert"
    #: `Task.clear` of a call that has succeeded.
    CLEAR = "clear"


def undone(code: Code) -> str:
    """The end of a task that failed, or was stopped or reverted, and left the files as before."""
    return f"cleanSuccess {code:d}"


@dataclass(frozen=True)
class Case:
    """One verb in one situation."""

    verb: type[Verb]
    #: All but the id of the task.
    params: Params
    #: Makes the files.
    build: Callable[[Storage], None]
    #: Asserts what the files are at the end; None where they are as before.
    after: Callable[[Storage], None] | None = None
    way: Way = Way.CALL
    #: What the case is about, beside its verb.
    about: str = ""
    #: taskResult, and the code of one that is no success.
    end: str = SUCCESS
    #: The other ends that a kill may lead to; the files are as before then.
    other_ends: frozenset[str] = field(default_factory=frozenset)
    #: The effect that the case makes fail, as `failpoint:hit`: it has a "before" only.
    raises: str = ""
    #: Arguments of a qemu-img that is refused, as a pattern of the shell's.
    fail: str = ""
    #: Arguments of a qemu-img that takes its time.
    slow: str = ""

    @property
    def name(self) -> str:
        """The verb, and what the case is about."""
        words = [self.about] if self.about else []
        if self.way is not Way.CALL:
            words.append(self.way.value)
        return ", ".join([self.verb.method, *words])

    def call(self, task_id: str, root: Path) -> Params:
        """The parameters under that id."""
        params = {name: str(root) if value == ROOT else value for name, value in self.params.items()}
        return {**params, ("job_id" if self.verb.is_host_job else "taskID"): task_id}

    def answer(self, task_id: str, status: Params | None) -> Any:  # Any: a JSON value
        """What the same call must be answered once all is over."""
        if status is None:
            return int(Code.TASK_CLEARED)
        if self.verb.is_host_job:
            return True
        if self.verb.is_async:
            return task_id
        return True if status["taskResult"] == SUCCESS else status["code"]
