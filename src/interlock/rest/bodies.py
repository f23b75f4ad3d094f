"""Reading what a caller sends: bounded in size, time and depth, and real JSON only."""

import asyncio
import json
import math
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.model.calls import COMMANDS_MAX, FORMERS_MAX, AfterPolicy, CallOrder
from interlock.model.decisions import Decision
from interlock.model.errors import InvalidInput, Refused
from interlock.model.limits import AT_MOST_MAX, KEY_MAX, STARTS_MAX, WINDOW_S_MAX
from interlock.model.locks import PRIORITY_MAX
from interlock.model.plan import TIMEOUT_S_MAX
from interlock.model.wishes import REASON_MAX

#: bytes of one body
BODY_SIZE_MAX = 1 << 20
#: how deep arrays and objects may be nested
DEPTH_MAX = 32
#: how much of what is wrong is said: problems, and characters of each place, which a caller chooses
REASONS_MAX, WHERE_LENGTH_MAX = 100, 200
#: how long a caller may take to send a body
BODY_S_MAX = 30.0

#: what a correlation id looks like
CORRELATION_ID = r"^[0-9A-Za-z_-]{1,50}$"

M = TypeVar("M", bound=BaseModel)


class TooLarge(Refused):
    """A body beyond BODY_SIZE_MAX."""


class TooSlow(Refused):
    """A body that did not come within BODY_S_MAX."""


class Body(BaseModel):
    """Base of what may be sent: no unknown keys, no guessed types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Submission(Body):
    """A command to be run."""

    command: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[int, Field(ge=1)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)  # checked by the catalog
    correlation_id: Annotated[str, Field(pattern=CORRELATION_ID)] | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    priority: Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX)] = 0
    timeout_s: Annotated[float, Field(gt=0, le=TIMEOUT_S_MAX, allow_inf_nan=False)] | None = None
    ask: bool = False
    wait_for_locks: bool = False
    after: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(max_length=FORMERS_MAX)] = Field(
        default_factory=list
    )
    after_policy: Annotated[AfterPolicy, Field(strict=False)] = AfterPolicy.SUCCEEDED


class Planning(Body):
    """A command of which is asked what it would do."""

    command: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[int, Field(ge=1)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)  # checked by the catalog


class OneOfCall(Body):
    """A command of a call."""

    command: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[int, Field(ge=1)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)  # checked by the catalog


class Calling(Body):
    """Several commands to be run, each as a job."""

    commands: Annotated[list[OneOfCall], Field(min_length=1, max_length=COMMANDS_MAX)]
    order: Annotated[CallOrder, Field(strict=False)] = CallOrder.PARALLEL
    correlation_id: Annotated[str, Field(pattern=CORRELATION_ID)] | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=190)] | None = None
    priority: Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX)] = 0


class Signalling(Body):
    """News from outside. `about` is TYPE:NAME or TYPE:ID; `id` makes a repetition harmless."""

    kind: Annotated[str, Field(min_length=1, max_length=200)]
    about: Annotated[str, Field(min_length=3, max_length=300)] | None = None
    job_id: Annotated[UUID, Field(strict=False)] | None = None
    data: Any = None
    id: Annotated[UUID, Field(strict=False)] | None = None


class Reporting(Body):
    """What was observed of an entity, for a monitor. `about` is TYPE:NAME or TYPE:ID."""

    monitor: Annotated[str, Field(min_length=1, max_length=200)]
    about: Annotated[str, Field(min_length=3, max_length=300)]
    report: Any = None


class Answering(Body):
    """What a person answers to a question of a job."""

    answer: Any
    task_id: Annotated[UUID, Field(strict=False)] | None = None


class Wishing(Body):
    """Something that a person wants of a job, and why."""

    reason: Annotated[str, Field(max_length=REASON_MAX)] = ""


class Stopping(Wishing):
    """What is to be stopped: a command, a step or a task of the job, by default all of it."""

    target: Annotated[UUID, Field(strict=False)] | None = None


class Cancelling(Stopping):
    """What is to be cancelled; with `force` tasks that do not end are abandoned."""

    force: bool = False


class Prioritizing(Wishing):
    """Another priority."""

    priority: Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX)]


class Restarting(Wishing):
    """An ended job is done once more."""

    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Settling(Body):
    """What a person decides about a command that needs attention."""

    decision: Annotated[Decision, Field(strict=False)]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
    command_id: Annotated[UUID, Field(strict=False)] | None = None
    leave_tasks: bool = False


class LimitSetting(Body):
    """How much of what a key counts may go on. The key is command:TYPE, host:NAME or key:TEXT."""

    key: Annotated[str, Field(min_length=1, max_length=KEY_MAX)]
    at_most: Annotated[int, Field(ge=0, le=AT_MOST_MAX)] | None = None
    starts_max: Annotated[int, Field(ge=1, le=STARTS_MAX)] | None = None
    window_s: Annotated[float, Field(gt=0, le=WINDOW_S_MAX, allow_inf_nan=False)] | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""


class LimitRemoving(Body):
    """Which limit is to go."""

    key: Annotated[str, Field(min_length=1, max_length=KEY_MAX)]
    reason: Annotated[str, Field(max_length=1000)] = ""


class Clearing(Body):
    """Why a leftover is settled."""

    reason: Annotated[str, Field(min_length=1, max_length=1000)]


async def read(request: Request, model: type[M]) -> M:
    """The request's body as `model`. Raises InvalidInput with everything wrong, TooLarge, TooSlow."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidInput(f"the body is {kind}; send application/json")
    try:
        async with asyncio.timeout(BODY_S_MAX):
            data = await _bytes(request)
    except TimeoutError:
        raise TooSlow(f"the body did not come within {BODY_S_MAX:g} s; send it again") from None
    try:
        return model.model_validate(parse(data))
    except ValidationError as error:
        raise InvalidInput(*reasons(error)) from None


def reasons(error: ValidationError) -> list[str]:
    """What is wrong, a line each; never the value, which may be secret."""
    lines = []
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    for problem in problems[:REASONS_MAX]:
        where = ".".join(str(part) for part in problem["loc"])[:WHERE_LENGTH_MAX] or "body"
        lines.append(f"{where}: {problem['msg']}")
    if len(problems) > REASONS_MAX:
        lines.append(f"{len(problems) - REASONS_MAX} more are wrong; mend these first")
    return lines


async def _bytes(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > BODY_SIZE_MAX:
        raise _too_large()
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_SIZE_MAX:
            raise _too_large()
    return bytes(data)


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {BODY_SIZE_MAX} bytes; send less at once")


def parse(data: bytes) -> Any:
    """JSON as RFC 8259 means it, nested at most DEPTH_MAX deep; raises InvalidInput.

    Repeated keys, NaN, infinities and halves of surrogate pairs are refused: what reads them differs.
    """
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on halves of surrogate pairs
    except UnicodeError:
        raise InvalidInput("the body is not valid UTF-8 throughout; send JSON in UTF-8") from None
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None
    return value


def _check_depth(text: str) -> None:
    """Counts brackets outside strings, so that the parser never has to go deeper than it can."""
    depth = 0
    within = escaped = False
    for character in text:
        if within:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                within = False
        elif character == '"':
            within = True
        elif character in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise ValueError(f"nested deeper than {DEPTH_MAX}")
        elif character in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is given twice in one object")
    return value


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON value")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
