"""Decisions: what a person may say about a command that cannot go on by itself."""

from enum import StrEnum


class Decision(StrEnum):
    """What becomes of a command that needs attention, or that asks since a part of it failed."""

    #: its attempts begin anew, or those of its parts that failed
    RETRY = "retry"
    #: its parts that failed do not count, and it goes on
    SKIP = "skip"
    #: what it was to do is done: it ends SUCCEEDED
    FORCE_SUCCESS = "force-success"
    #: it ends FAILED, or CANCELLED where it has not begun
    FORCE_FAILURE = "force-failure"
