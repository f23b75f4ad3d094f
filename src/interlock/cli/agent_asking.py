"""Asking the agent of this host: which one is meant, and how its answers and its silence end the program."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from interlock import app

#: where packages keep an agent's state
STATE_DEFAULT = Path("/var/lib/interlock-agent")
STATE_VARIABLE = "INTERLOCK_AGENT_STATE"

Json = Mapping[str, Any]  # an object of the agent


class HostAgent:
    """The agent of one state folder. Every failure is a Stop with its exit code."""

    def __init__(self, state_dir: Path | None, config: Path | None) -> None:
        self.folder = _folder(state_dir, config)

    def ask(self, method: str, **params: Any) -> Any:
        """The answer to one question."""
        from interlock import app  # late: everything hangs from it

        try:
            return app.ask_agent(self.folder, method, **params)
        except app.CannotAsk as error:
            raise _stop(error) from None

    def find(self, beginning: str) -> Json:
        """All about the one task whose id begins like this."""
        wanted = beginning.lower()
        if not re.fullmatch("[0-9a-f-]{4,36}", wanted):
            raise Stop(Exit.USAGE, f"{beginning!r} is no task's id; give it, or at least its first 4 characters")
        found: Json = self.ask("Agent.getTask", taskID=wanted)
        return found

    def change(
        self, task_id: str, method: str, tell: Callable[[Json], None], *, timeout_s: float | None, **params: Any
    ) -> Json:
        """Has a task changed and waits for its end: the task as it is then. `tell` gets it as it goes."""
        from interlock import app

        goes_on = f"task {task_id} goes on; `interlock agent show {task_id} --state-dir {self.folder}` shows it"
        try:
            task: Json = app.change_task(self.folder, method, tell, timeout_s=timeout_s, taskID=task_id, **params)
        except app.CannotAsk as error:
            raise _stop(error) from None
        except KeyboardInterrupt:
            raise Stop(Exit.TIMEOUT, goes_on) from None
        except TimeoutError:
            raise Stop(Exit.TIMEOUT, f"not over within {timeout_s:g} s", goes_on) from None
        return task


def _folder(state_dir: Path | None, config: Path | None) -> Path:
    """The state folder of the agent that is meant: as said here, in its configuration, or around us."""
    if state_dir is not None:
        return state_dir
    if config is not None:
        from interlock import app

        try:
            return app.agent_state_dir(config)
        except ValueError as error:
            raise Stop(Exit.USAGE, str(error)) from None
    if named := os.environ.get(STATE_VARIABLE):
        return Path(named)
    if os.path.isdir(STATE_DEFAULT):
        return STATE_DEFAULT
    raise Stop(
        Exit.USAGE, f"which agent? {STATE_DEFAULT} is not there; give --state-dir or --config, or set {STATE_VARIABLE}"
    )


def _stop(error: "app.CannotAsk") -> Stop:
    code = Exit.DENIED if error.is_denied else Exit.UNKNOWN if error.is_unknown else Exit.FAILED
    return Stop(code, str(error))
