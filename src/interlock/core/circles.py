"""Circles: who waits for whom, and whether that would never end. Pure.

Whoever waits needs so many of those it waits for to end: of the holders of a lock all, of those who have a limit's
room as many as there must be room for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

#: a command: what waits within it keeps it from ending; a flow is its flow command
Node = UUID


@dataclass(frozen=True, slots=True)
class Wait:
    """What keeps a node from ending until `need` of the targets have; `how` stands between the two for people."""

    targets: tuple[Node, ...]
    need: int
    how: str


Waits = Mapping[Node, Sequence[Wait]]


@dataclass(frozen=True, slots=True)
class Link:
    """One node waits for another."""

    origin: Node
    how: str
    target: Node


def stuck(waits: Waits) -> set[Node]:
    """The nodes that can never end, whatever the others do."""
    left = {node for node, theirs in waits.items() if theirs}
    while True:
        ending = {node for node in left if all(_can_end(wait, left) for wait in waits[node])}
        if not ending:
            return left
        left -= ending


def circle(start: Node, waits: Waits) -> list[Link]:
    """How a node would wait for itself, for ever; empty where it would not."""
    left = stuck(waits)
    if start not in left:
        return []
    came_by: dict[Node, Link] = {}
    stack = [start]
    while stack:
        here = stack.pop()
        for link in _links(here, waits, left):
            if link.target == start:
                return [*_back(came_by, start, here), link]
            if link.target not in came_by:
                came_by[link.target] = link
                stack.append(link.target)
    return []


def _can_end(wait: Wait, left: set[Node]) -> bool:
    return sum(target not in left for target in wait.targets) >= wait.need


def _links(node: Node, waits: Waits, left: set[Node]) -> list[Link]:
    return [
        Link(node, wait.how, target)
        for wait in waits.get(node, ())
        if not _can_end(wait, left)
        for target in wait.targets
        if target in left
    ]


def _back(came_by: Mapping[Node, Link], start: Node, here: Node) -> list[Link]:
    path: list[Link] = []
    while here != start:
        link = came_by[here]
        path.append(link)
        here = link.origin
    return path[::-1]
