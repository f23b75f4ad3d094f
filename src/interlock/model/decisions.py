"""Decisions: what a person may say about a command that cannot go on by itself."""

from enum import StrEnum


class Decision(StrEnum):
    """What becomes of a command that needs attention."""

    #: its attempts begin anew
    RETRY = "retry"
    #: what it was to do is done: it ends SUCCEEDED
    FORCE_SUCCESS = "force-success"
    #: it ends FAILED, or CANCELLED where it has not begun
    FORCE_FAILURE = "force-failure"
