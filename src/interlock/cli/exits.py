"""How the command line ends: exit codes, and the one exception that carries them."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """What a script may rely on."""

    SUCCEEDED = 0
    #: it failed, was refused, or no server answers
    FAILED = 1
    CANCELLED = 2
    #: nobody can say whether it happened
    UNKNOWN = 3
    #: not allowed
    DENIED = 4
    #: not over within the time given; it goes on
    TIMEOUT = 5
    #: a wrong option, parameter or value; nothing happened
    USAGE = 64


class Stop(Exception):
    """Ends the program: `reasons` go to standard error, a line each; `code` is the exit code,
    `job_id` the job that shows more, `column` where in a query the mistake is."""

    def __init__(self, code: Exit, *reasons: str, job_id: str | None = None, column: int | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.code = code
        self.reasons = reasons
        self.job_id = job_id
        self.column = column


def of_job(job: Mapping[str, Any]) -> Exit:
    """The exit code that tells how a job ended; `job` is the API's JSON object."""
    if job["status"] == "UNKNOWN":
        return Exit.UNKNOWN
    codes = {"SUCCEEDED": Exit.SUCCEEDED, "CANCELLED": Exit.CANCELLED, "FAILED": Exit.FAILED}
    return codes.get(job["result"], Exit.UNKNOWN)
