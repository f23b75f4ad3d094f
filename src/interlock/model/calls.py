"""Several commands in one call, and how a command shows."""

from dataclasses import dataclass
from enum import StrEnum

#: how many commands one call may have
COMMANDS_MAX = 1_000
#: how many jobs one may come after
FORMERS_MAX = 100


class CallOrder(StrEnum):
    """How the jobs of one call follow one another."""

    PARALLEL = "parallel"
    #: each begins when the one before has succeeded; where it does not, the rest never start
    SEQUENTIAL = "sequential"
    #: each begins when the one before has ended, however
    ONE_BY_ONE = "one by one"


class AfterPolicy(StrEnum):
    """How the jobs must have ended that a job comes after; where they have not, it never begins."""

    #: all of them have succeeded
    SUCCEEDED = "succeeded"
    #: all have ended, however
    ENDED = "ended"
    #: all have ended, and at least one has not succeeded
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Context:
    """In which context a command is executed; overrides what its class says (the seeds' ExecutionContext)."""

    #: whether its job is listed
    monitored: bool | None = None
    title: str | None = None


NO_CONTEXT = Context()
