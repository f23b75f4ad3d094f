"""Failures and refusals as values: what went wrong, where, and what a person can do about it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from interlock.model.states import Outcome

#: how many causes a failure keeps; more are counted in the last one
CAUSES_MAX = 100


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason of a failure: `path` leads from the flow command to it; refs are written `type:id`."""

    message: str
    path: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    host: str | None = None
    code: int | None = None
    remedy: str | None = None
    leftover: bool = False
    #: how the task ended that is the reason; STOPPED as well where a command's time was over
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command failed: one line, and its causes, first the first that happened."""

    message: str
    causes: tuple[Cause, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Failure":
        data = json.loads(text)
        causes = tuple(
            Cause(
                **{
                    **cause,
                    "path": tuple(cause["path"]),
                    "refs": tuple(cause["refs"]),
                    "outcome": Outcome(cause["outcome"]) if cause.get("outcome") else None,
                }
            )
            for cause in data["causes"]
        )
        return cls(data["message"], causes)

    def has(self, outcome: Outcome) -> bool:
        """Whether that is how one of the causes (those that are kept) came about: LOST and STOPPED may want ends of
        their own."""
        return any(cause.outcome is outcome for cause in self.causes)

    @classmethod
    def of(cls, message: str, causes: Iterable[Cause] = ()) -> "Failure":
        """With at most CAUSES_MAX causes; what is beyond is counted, not dropped in silence."""
        kept = tuple(causes)
        if len(kept) > CAUSES_MAX:
            more = len(kept) - CAUSES_MAX + 1
            kept = (*kept[: CAUSES_MAX - 1], Cause(f"and {more} more"))
        return cls(message, kept)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a command may not run, in plain words."""

    message: str


Refusals: TypeAlias = Iterable[Refusal]


def refuse(message: str) -> Refusal:
    """What `validate` yields: the fact and the remedy."""
    return Refusal(message)


JsonObject: TypeAlias = dict[str, Any]
