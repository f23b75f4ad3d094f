"""What a wait waits for: a part of a plan for which nothing is sent, and that ends when something has become true."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from interlock.model.errors import InvalidInput
from interlock.model.refs import Ref
from interlock.model.text import require_storable

#: letters of a signal's kind, and of its data as JSON
KIND_MAX, DATA_MAX = 200, 64 * 1024


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
    #: the number of the last signal before it began, and signals that its own flow sent before, in the same transaction
    begun_after: int = 0
    not_these: tuple[UUID, ...] = ()
    #: the number of the last signal that was judged, and passed over
    passed: int = 0

    def to_json(self) -> str:
        told: dict[str, Any] = {
            name: value
            for name in ("until", "signal", "question", "permission", "begun_after", "passed")
            if (value := getattr(self, name))
        }
        if self.about is not None:
            told["about"] = [self.about.type, str(self.about.id)]
        if self.job is not None:
            told["job"] = str(self.job)
        if self.not_these:
            told["not_these"] = list(map(str, self.not_these))
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
    told["not_these"] = tuple(map(UUID, told.get("not_these", ())))
    return Wait(**told)


def require_kind(kind: str) -> None:
    """Raises InvalidInput for what cannot be the kind of a signal."""
    if not 0 < len(kind) <= KIND_MAX:
        raise InvalidInput(f"a kind of signal of {len(kind)} letters; it must have 1 to {KIND_MAX}")
    require_storable("the kind of a signal", kind)


def data_of(kind: str, data: Any) -> str:
    """What is sent with a signal, as JSON. Raises InvalidInput."""
    try:
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the data of signal {kind} is no JSON: {error}") from None
    if len(text) > DATA_MAX:
        raise InvalidInput(f"the data of signal {kind} has {len(text)} letters; at most {DATA_MAX}")
    return text
