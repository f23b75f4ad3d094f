"""Threads as a capability that is handed in: the system's, or a simulator's."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Thread(Protocol):
    """A thread that was started."""

    @property
    def name(self) -> str: ...

    def join(self, timeout: float | None = None) -> None:
        """Waits until it is over, for so many seconds at most."""

    def is_alive(self) -> bool: ...


class Queue(Protocol[T]):
    """What threads hand each other, in order, without a bound."""

    def put(self, item: T) -> None: ...

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """The next item; raises queue.Empty where there is none in time."""


class Threads(Protocol):
    """Who starts threads, and what they wait with."""

    def queue(self) -> Queue[Any]:  # Any: whatever its user puts there
        """A new, empty one."""

    def start(self, name: str, run: Callable[[], None]) -> Thread:
        """Runs a function in a thread that does not keep the process alive."""


class SystemThreads:
    """The machine's."""

    def queue(self) -> Queue[Any]:
        return queue.SimpleQueue()

    def start(self, name: str, run: Callable[[], None]) -> Thread:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread
