"""Commands and catalogs: how operations are declared. The phases' promises are design rule 1."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin

from interlock.model.entities import Entity, Upgrade, _FrozenClass
from interlock.model.failure import Failure, Refusals
from interlock.model.locks import NO_LOCKS, Locks
from interlock.model.plan import NOTHING, Plan, require_possible
from interlock.model.refs import Ref
from interlock.model.states import Ends, Outcome, Result

R = TypeVar("R")
E = TypeVar("E", bound=Entity)
C = TypeVar("C", bound="Command[Any]")


@dataclass(frozen=True)
class Child(Generic[C]):
    """A child command as its parent sees it. `value` is the typed result of one that succeeded."""

    command: C
    result: Result | None
    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True)
class TaskResult:
    """An async task as its command sees it. `answer` is what the host returned, JSON."""

    method: str
    host: Ref[Any] | None
    outcome: Outcome | None
    answer: Any = None
    code: int | None = None
    message: str | None = None


class Reader(Protocol):
    """What reading phases may do."""

    @property
    def now(self) -> int:
        """Wall time in microseconds, the same throughout a phase."""

    def get(self, ref: Ref[E]) -> E:
        """The entity; raises Missing."""

    def exists(self, ref: Ref[Any]) -> bool:
        """Whether the ref names an entity."""

    def named(self, type: type[E], name: str) -> E | None:
        """The entity of that type and name."""

    def find(self, type: type[E], **field: Ref[Any]) -> tuple[E, ...]:
        """All entities of a type whose ref field (one keyword) names that entity, ordered by id."""

    def children(self, type: type[C]) -> tuple[Child[C], ...]:
        """This command's children of that type, in the plan's order."""

    def tasks(self, command: "Command[Any]") -> tuple[TaskResult, ...]:
        """The async tasks of this command (pass `self`), in the plan's order."""


class Tx(Reader, Protocol):
    """What writing phases may do; committed whole or never."""

    def add(self, entity: Entity) -> None:
        """A new entity; a name that is taken fails the command."""

    def put(self, entity: Entity) -> None:
        """The entity's new state; raises Missing where there is none."""

    def remove(self, ref: Ref[Any]) -> None:
        """Removes the entity; nothing happens where there is none."""

    def new(self, type: type[E]) -> Ref[E]:
        """A fresh ref, to be shared between parts beforehand."""

    def announce(self, kind: str, about: Ref[Any] | None = None, data: Any = None) -> None:
        """A signal for whoever waits for it, with JSON data; sent as this transaction is committed."""

    def restore(self) -> None:
        """Puts back what this command itself wrote, in reverse, as far as nobody changed it since."""

    def log(self, message: str, *, warning: bool = False) -> None:
        """A line in the job's events."""


@dataclass(frozen=True)
class CommandType:
    """What the catalog knows of a command class."""

    name: str
    version: int
    upgrades: Mapping[int, Upgrade]
    internal: bool = False
    monitored: bool = True
    #: None: as its parent, a flow command by its flow
    ends: Ends | None = None
    #: what it may take where nobody says otherwise, in seconds
    timeout_s: float | None = None
    #: whether what has succeeded of it may be kept while a person decides
    resumable: bool = False
    #: whether its end is right although parts of it were skipped
    skippable: bool = False


class Command(_FrozenClass, Generic[R]):
    """Base of operations. A subclass is a frozen dataclass of its parameters; R is its result's type.

    `class RemoveVm(Command[None], name="vm.remove", version=2, upgrades={1: …})`: name and version are
    stored; `upgrades[n]` turns the parameters of version n into those of n + 1, a pure function. An `internal` one
    is a part of others: people are not offered it. The job of one that is internal or not `monitored` is not
    listed, unless who submits it says otherwise. With `ends=Ends.BY_ENTITY` its end phase, and that of its parts,
    waits for the tasks of other flows on its refs. With `timeout_s` it has a deadline wherever neither the plan
    that it is part of nor who submits it gives it another. What has succeeded of a `resumable` one stays right while a
    person decides about what failed: who submits it may ask for that. Where it is `skippable` too, its end is right
    although parts of it have failed and were skipped; its children tell it which.
    """

    command_type: ClassVar[CommandType]
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __init_subclass__(
        cls,
        *,
        name: str,
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        internal: bool = False,
        monitored: bool = True,
        ends: Ends | None = None,
        timeout_s: float | None = None,
        resumable: bool = False,
        skippable: bool = False,
    ) -> None:
        require_possible(timeout_s)
        if skippable and not resumable:
            raise TypeError(f"command {name} is skippable but not resumable; nobody could skip anything")
        upgrades = dict(upgrades or {})
        missing = [n for n in range(1, version) if n not in upgrades]
        if missing:
            raise TypeError(f"command {name} is version {version} but has no upgrade from {missing}")
        cls.command_type = CommandType(
            name, version, upgrades, internal, monitored, ends, timeout_s, resumable, skippable
        )
        dataclass(frozen=True, kw_only=True)(cls)

    def title(self, db: Reader) -> str:
        """One line for people; default: the command's name."""
        return self.command_type.name

    def locks(self, db: Reader) -> Locks:
        """What must be held while the command lives, computed again whenever it is (re)started."""
        return NO_LOCKS

    def limited_by(self, db: Reader) -> Sequence[str | Ref[Any]]:
        """Under which limits it counts while it runs, beside that of its type: words of your own, or refs (a host's
        is that host's). Asked again whenever it is (re)started; a key without a limit costs nothing."""
        return ()

    def validate(self, db: Reader) -> Refusals:
        """Yields every reason why it may not run."""
        return ()

    def execute(self, db: Tx) -> Plan:
        """Writes intentions and returns all work, none of it begun."""
        return NOTHING

    def end_successfully(self, db: Tx) -> R:
        """Writes the truth after everything succeeded; returns the job's typed result."""
        return None  # type: ignore[return-value]  # right for Command[None]; others must override

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        """Writes the truth after a failure; may return work. Default: restores what this command wrote."""
        db.restore()
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        """Undoes this completed command, because a part beside it failed; may return work."""
        return NOTHING


def result_type(command: type[Command[Any]]) -> Any:
    """R of a `Command[R]` subclass; Any where it is not said."""
    for cls in command.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Command and not isinstance(get_args(base)[0], TypeVar):
                return get_args(base)[0]
    return Any


LocalFunction = Callable[..., Any] | Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Local:
    """A function that runs in this process as an async task. Marked `repeatable` it is run again after a
    crash; otherwise a crash while it may have run makes the task lost."""

    name: str
    function: LocalFunction
    repeatable: bool = False


@dataclass(frozen=True)
class Monitor:
    """Writes what somebody observed into entities, outside any flow: `reported(db, subject, report)`.

    A phase like any other, whose writes nothing restores; `db` has no children, tasks or restore. Whatever watches
    the entities looks again. Register it in the catalog.
    """

    name: str
    reported: Callable[[Tx, Ref[Any], Any], None]
