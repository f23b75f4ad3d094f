"""Whether a flow that waits would wait for itself: through ends of jobs, locks, and what comes after what."""

from collections.abc import Iterable
from uuid import UUID

from interlock.coordinator.snapshot import Snapshot
from interlock.core import circles
from interlock.core.circles import Node, Wait
from interlock.core.flow import Flow
from interlock.store.queries.locks import HeldLock

#: what every refusal of a circle begins with
NEVER_ENDS = "waiting would never end"


def leads_back(flow_id: UUID, how: str, origin: UUID, snapshot: Snapshot) -> str | None:
    """How one flow that waits for another would wait for itself, in words, through however many between them; None:
    it would not."""
    return _words(flow_id, {flow_id: [Wait((origin,), 1, how)]}, snapshot)


def awaited_by(flow: Flow, held: Iterable[HeldLock], snapshot: Snapshot) -> str | None:
    """How this flow, waiting for these locks of others, would wait for itself, in words; or None."""
    for each in held:
        circle = leads_back(flow.id, f"waits for {each.lock.ref}, held by", each.lock.flow_id, snapshot)
        if circle is not None:
            return circle
    return None


def _words(start: Node, waits: dict[Node, list[Wait]], snapshot: Snapshot) -> str | None:
    front = {target for wait in waits[start] for target in wait.targets}
    seen = {start}
    while front := front - seen:
        seen |= front
        found = snapshot.awaited(front)
        for each in found:
            waits.setdefault(each.flow_id, []).append(Wait((each.target,), 1, each.how))
        front = {each.target for each in found}
    links = circles.circle(start, waits)
    return "; ".join(f"{_who(link.origin, start)} {link.how} {_who(link.target, start)}" for link in links) or None


def _who(node: Node, start: Node) -> str:
    return "this job" if node == start else f"job {node}"
