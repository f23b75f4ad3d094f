"""Whether a flow that waits would wait for itself: through ends of jobs, locks, limits, and what comes after what."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from interlock.coordinator.snapshot import Snapshot
from interlock.core import circles, limiting
from interlock.core.circles import Node, Wait
from interlock.core.flow import Flow
from interlock.model.limits import LimitRecord, LimitTicketRecord
from interlock.model.records import CommandRecord
from interlock.store.queries.locks import HeldLock

Limits = Mapping[str, LimitRecord]

#: what every refusal of a circle begins with
NEVER_ENDS = "waiting would never end"


def leads_back(flow: Flow, origin: UUID, limits: Limits, snapshot: Snapshot) -> str | None:
    """How a flow that waits for the end of another would wait for itself, in words, through however many between
    them; None: it would not."""
    search = _Search(flow, limits, snapshot)
    search.add([flow.id], Wait((origin,), 1, "waits for the end of"), {origin: origin})
    return search.words([flow.id])


def awaited_by(
    flow: Flow, command: CommandRecord, held: Iterable[HeldLock], limits: Limits, snapshot: Snapshot
) -> str | None:
    """How this command, waiting for these locks of others, would wait for itself, in words; or None."""
    for each in held:
        holder, search = each.lock.flow_id, _Search(flow, limits, snapshot)
        above = limiting.lineage(flow, command)
        search.add(above, Wait((holder,), 1, f"waits for {each.lock.ref}, held by"), {holder: holder})
        circle = search.words(above)
        if circle is not None:
            return circle
    return None


def held_back_by(
    flow: Flow,
    lineage: Sequence[UUID],
    key: str,
    behind: LimitTicketRecord | None,
    limits: Limits,
    snapshot: Snapshot,
) -> str | None:
    """How a command, waiting for room under a limit, would wait for itself, in words; or None: enough of those who
    have it will end by themselves. `behind`: the last of those before it who has what others may wait for."""
    search = _Search(flow, limits, snapshot)
    search.add_line(lineage, key, behind)
    return search.words(lineage)


class _Search:
    """Finds who waits for whom, from what one command would wait for."""

    def __init__(self, flow: Flow, limits: Limits, snapshot: Snapshot) -> None:
        self._flow = flow
        self._limits = limits
        self._snapshot = snapshot
        self._waits: dict[Node, list[Wait]] = {}
        self._flows: dict[Node, UUID] = {flow.id: flow.id}
        self._front: set[UUID] = set()
        self._stored: dict[str, dict[Node, UUID]] = {}

    def add(self, nodes: Iterable[Node], wait: Wait, targets: Mapping[Node, UUID]) -> None:
        """What keeps those nodes from ending; `targets` with the flows that they belong to."""
        for node in nodes:
            self._waits.setdefault(node, []).append(wait)
        self._flows |= targets
        self._front |= set(targets.values())

    def add_line(self, nodes: Sequence[Node], key: str, behind: LimitTicketRecord | None) -> None:
        """A wait for room under a limit: so many of those who have it must end, and who is before it must start."""
        limit = self._limits.get(key)
        if limit is None:
            return
        if key not in self._stored:
            self._stored[key] = {use.command_id: use.flow_id for use in self._snapshot.limit_uses([key])}
        stored = self._stored[key]
        running = {id: stored.get(id, self._flow.id) for id in limiting.running(self._flow, key, stored)}
        need = 0 if limit.at_most is None else len(running) + 1 - limit.at_most
        if need > 0:
            self.add(nodes, Wait(tuple(running), need, f"waits for room under limit {key}, taken by"), running)
        if behind is not None:
            wait = Wait((behind.command_id,), 1, f"comes, under limit {key}, behind")
            self.add(nodes, wait, {behind.command_id: behind.flow_id})

    def words(self, starts: Sequence[Node]) -> str | None:
        self._follow()
        for start in starts:
            links = circles.circle(start, self._waits)
            if links:
                return "; ".join(f"{self._who(link.origin)} {link.how} {self._who(link.target)}" for link in links)
        return None

    def _follow(self) -> None:
        seen: set[UUID] = set()
        while front := self._front - seen:
            seen |= front
            self._front = set()
            parents = self._snapshot.parents(front) if self._limits else {}
            for each in self._snapshot.awaited(front):
                above = _above(each.command_id, each.flow_id, parents)
                self.add(above, Wait((each.target,), 1, each.how), {each.target: each.target})
            if self._limits:
                self._follow_lines(front, parents)

    def _follow_lines(self, front: Collection[UUID], parents: Mapping[UUID, UUID | None]) -> None:
        tickets = self._snapshot.limit_tickets(front)
        last: dict[str, LimitTicketRecord] = {}
        wanted = {(ticket.command_id, ticket.key) for ticket in tickets}
        for each in self._snapshot.limit_waiters({ticket.key for ticket in tickets}):
            ticket = each.ticket
            if (ticket.command_id, ticket.key) in wanted:
                above = _above(ticket.command_id, ticket.flow_id, parents)
                self.add_line(above, ticket.key, last.get(ticket.key))
            if each.is_holder:
                last[ticket.key] = ticket

    def _who(self, node: Node) -> str:
        flow_id = self._flows.get(node, node)
        return "this job" if flow_id == self._flow.id else f"job {flow_id}"


def _above(command_id: UUID, flow_id: UUID, parents: Mapping[UUID, UUID | None]) -> list[UUID]:
    """The command and all above it; where that was not asked for, what counts alone: itself and its flow command."""
    found = [command_id]
    while (parent := parents.get(found[-1])) is not None:
        found.append(parent)
    return found if found[-1] == flow_id else [*found, flow_id]
