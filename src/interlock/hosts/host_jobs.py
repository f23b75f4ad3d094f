"""What a stock host says of its jobs (`Host.getJobs`), as a report of a task."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from interlock.hosts.backend import Report, Unanswered
from interlock.hosts.words import CODES, fitting
from interlock.model.states import Outcome
from interlock.verbs import TaskResult, TaskState


class _Error(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    code: Annotated[int, Field(ge=CODES.start, lt=CODES.stop)]
    message: str


class _Job(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["pending", "running", "done", "aborted", "failed"]
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    error: _Error | None = None


_WORDS = {
    "pending": (TaskState.INIT, TaskResult.NONE, None),
    "running": (TaskState.RUNNING, TaskResult.NONE, None),
    "done": (TaskState.FINISHED, TaskResult.SUCCESS, Outcome.SUCCEEDED),
    # A job undoes nothing: what it did remains.
    "aborted": (TaskState.FINISHED, TaskResult.CLEAN_FAILURE, Outcome.FAILED),
    "failed": (TaskState.FINISHED, TaskResult.CLEAN_FAILURE, Outcome.FAILED),
}


def job_report(job_id: str, info: Any) -> Report:  # Any: a JSON value
    """The report. Raises Unanswered for what makes no sense."""
    try:
        job = _Job.model_validate(info)
    except ValueError as error:
        raise Unanswered(f"what the host says of job {job_id} makes no sense: {fitting(str(error))}") from error
    state, result, outcome = _WORDS[job.status]
    code, message = (0, job.status) if job.error is None else (job.error.code, fitting(job.error.message))
    return Report(outcome, state, result, code, message, job.progress)
