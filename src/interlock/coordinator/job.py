"""What a submission answers: the job, whose typed result can be waited for."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from interlock.command import Command
from interlock.model.errors import InterlockError
from interlock.model.failure import Failure
from interlock.model.states import Result

if TYPE_CHECKING:
    from interlock.coordinator.submitting import Submitting

R = TypeVar("R")


class CommandFailed(InterlockError):
    """The command reached its end, and the end is FAILED or CANCELLED; `failure` says why."""

    def __init__(self, job_id: UUID, result: Result, failure: Failure) -> None:
        super().__init__(f"job {job_id} {result}: {failure.message}")
        self.job_id = job_id
        self.result = result
        self.failure = failure


class Job(Generic[R]):
    """An accepted command. `repeated`: it had been submitted before under the same idempotency key."""

    def __init__(self, coordinator: "Submitting", id: UUID, command: type[Command[Any]], *, repeated: bool) -> None:
        self._coordinator = coordinator
        self._command = command
        self.id = id
        self.repeated = repeated

    async def result(self, timeout_s: float | None = None) -> R:
        """Waits for the end; the typed result. Raises CommandFailed, or TimeoutError (the job goes on)."""
        root = await self._coordinator.wait_ended(self.id, timeout_s)
        if root.result is not Result.SUCCEEDED:
            failure = Failure.from_json(root.failure_json) if root.failure_json else Failure("it was stopped")
            raise CommandFailed(self.id, root.result or Result.FAILED, failure)
        value: R = self._coordinator.catalog.read_value(self._command, root.value_json)
        return value
