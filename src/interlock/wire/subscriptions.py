"""Who of a server's clients subscribed to what, and what they get: answers, notifications, each other's frames."""

from typing import Protocol

from interlock.wire.destinations import is_within
from interlock.wire.frames import Frame

#: Headers of a SEND that are for the server, or that its MESSAGE has of its own.
_NOT_FORWARDED = frozenset(("subscription", "receipt", "content-length"))


class Subscriber(Protocol):
    """A connected client."""

    def deliver(self, frame: Frame) -> None:
        """Send it that frame; never waits."""


class Subscriptions:
    """The subscriptions of all clients of one server. A destination belongs to nobody: all subscribers get all."""

    def __init__(self) -> None:
        self._by_destination: dict[str, dict[tuple[Subscriber, str], None]] = {}

    def __contains__(self, destination: str) -> bool:
        """Whether anybody subscribed to exactly that destination."""
        return destination in self._by_destination

    def add(self, destination: str, subscriber: Subscriber, subscription: str) -> None:
        """`subscription` is the id that the subscriber gave it, unique among its own."""
        self._by_destination.setdefault(destination, {})[subscriber, subscription] = None

    def remove(self, destination: str, subscriber: Subscriber, subscription: str) -> None:
        """Undo one `add`."""
        there = self._by_destination[destination]
        del there[subscriber, subscription]
        if not there:
            del self._by_destination[destination]

    def publish(self, destination: str, body: bytes) -> bool:
        """The server's own message, to whoever subscribed to exactly that destination; whether there was one."""
        subscribers = self._by_destination.get(destination, {})
        for subscriber, subscription in subscribers:
            headers = {"destination": destination, "content-type": "application/json", "subscription": subscription}
            subscriber.deliver(Frame("MESSAGE", headers, body))
        return bool(subscribers)

    def forward(self, destination: str, sent: Frame) -> bool:
        """A client's SEND, to whoever subscribed to its destination or to a parent of that; whether there was one."""
        headers = {name: value for name, value in sent.fields.items() if name not in _NOT_FORWARDED}
        found = False
        for parent, subscribers in self._by_destination.items():
            if is_within(destination, parent):
                found = True
                for subscriber, subscription in subscribers:
                    subscriber.deliver(Frame("MESSAGE", {"subscription": subscription, **headers}, sent.body))
        return found
