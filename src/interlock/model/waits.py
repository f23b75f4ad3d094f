"""What a wait waits for: a part of a plan for which nothing is sent, and that ends when something has become true."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from interlock.model.refs import Ref


@dataclass(frozen=True)
class Approval:
    """The form of an approval that has none of its own."""

    approve: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """One of: a method to become true (`until` alone), a signal, a person's answer, the end of another job.

    `until` is the name of a method of the command that planned it; with a signal or an answer it judges that.
    """

    until: str | None = None
    #: the kind of the signal, and the entity that it must be about
    signal: str | None = None
    about: Ref[Any] | None = None
    #: what a person is asked, and what they must be permitted to do
    question: str | None = None
    permission: str | None = None
    job: UUID | None = None
    #: the number of the last signal before it began
    begun_after: int = 0

    def to_json(self) -> str:
        told: dict[str, Any] = {
            name: value
            for name in ("until", "signal", "question", "permission", "begun_after")
            if (value := getattr(self, name))
        }
        if self.about is not None:
            told["about"] = [self.about.type, str(self.about.id)]
        if self.job is not None:
            told["job"] = str(self.job)
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@lru_cache(maxsize=4096)
def wait_of(text: str) -> Wait:
    """What `to_json` wrote."""
    told = json.loads(text)
    if "about" in told:
        kind, id = told["about"]
        told["about"] = Ref(kind, UUID(id))
    if "job" in told:
        told["job"] = UUID(told["job"])
    return Wait(**told)
