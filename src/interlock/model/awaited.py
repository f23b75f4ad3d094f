"""What a part can wait for, for those who write plans: `part(until(self.is_up, watch=self.vm))`."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from interlock.model.plan import Detached, TaskWork
from interlock.model.refs import Ref
from interlock.model.text import require_storable
from interlock.model.waits import Wait, require_kind

#: letters that a question may have
QUESTION_MAX = 2_000

Refs = Ref[Any] | Sequence[Ref[Any]]


def until(judge: Callable[..., Any], *, watch: Refs) -> TaskWork:
    """Waits until a method of this command says True: `def is_up(self, db: Reader) -> bool | Failure`.

    It is asked when the wait begins, after a restart, and whenever a watched entity was written, or another began or
    ceased to refer to it, by whomever: a command, or a monitor that wrote what a host reported. A Failure ends the
    wait as failed.
    """
    refs = _refs(watch)
    if not refs:
        raise ValueError(f"waiting until {_name(judge)} without an entity to watch; nothing would ever wake it")
    return _work(f"until {_name(judge)}", Wait(until=_name(judge)), refs)


def signal(kind: str, *, about: Ref[Any] | None = None, judge: Callable[..., Any] | None = None) -> TaskWork:
    """Waits for a signal of that kind (about that entity); its data is the task's answer.

    One that was accepted before the wait began does not count, unless it is addressed to this job.
    `judge`, a method `(self, db: Reader, data: T) -> bool | Failure`, may pass it over (False: not this one, nor
    later) or fail the wait; data that is no T is passed over.
    """
    require_kind(kind)
    name = None if judge is None else _name(judge)
    return _work(f"signal {kind}", Wait(until=name, signal=kind, about=about), _refs(about or ()))


def approval(question: str, *, permission: str, judge: Callable[..., Any] | None = None, about: Refs = ()) -> TaskWork:
    """Waits for a person's answer; whoever answers must hold the permission.

    Without `judge` the form is `Approval` (approve, reason), and one that does not approve fails the wait. With it
    the form is the class of its last parameter: `def decide(self, db: Reader, answer: Form) -> bool | Failure`,
    where False means that the wait goes on, for another answer.
    """
    require_storable("a question", question)
    require_storable("a permission", permission)
    if not permission:
        raise ValueError(f"{question!r} without a permission; nobody could be known to hold it")
    if not 0 < len(question) <= QUESTION_MAX:
        raise ValueError(f"a question of {len(question)} letters; it must have 1 to {QUESTION_MAX}")
    name = None if judge is None else _name(judge)
    return _work("approval", Wait(until=name, question=question, permission=permission), _refs(about))


def end_of(job: UUID) -> TaskWork:
    """Waits for another job to end; succeeds as that does, with its result as answer."""
    return _work(f"end of {job}", Wait(job=job), ())


def detached(command: Any) -> Detached:
    """Starts a command as a job of its own, in the transaction that ends this phase, and waits for its end.

    Whatever becomes of this command, that job goes on. It takes its own locks: one that this flow holds is refused
    to it like to any other.
    """
    return Detached(command)


def _work(method: str, wait: Wait, refs: tuple[Ref[Any], ...]) -> TaskWork:
    return TaskWork(None, method, {}, is_async=True, is_mutating=False, touches=refs, wait=wait)


def _refs(given: Refs) -> tuple[Ref[Any], ...]:
    return (given,) if isinstance(given, Ref) else tuple(given)


def _name(judge: Callable[..., Any]) -> str:
    if getattr(judge, "__self__", None) is None:
        raise ValueError(f"{judge!r} is no method of a command; name one, as in until(self.is_up, …)")
    return judge.__name__
