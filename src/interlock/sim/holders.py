"""Who holds what, and who waits for whom, as commits say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any
from uuid import UUID

from interlock.model.changes import Change
from interlock.model.locks import LockMode
from interlock.model.records import FormerRecord, LockRecord, TicketRecord
from interlock.model.refs import Ref


class Holders:
    """Locks, tickets and prerequisites, kept as they are stored."""

    def __init__(self) -> None:
        self._held: dict[Ref[Any], dict[UUID, LockRecord]] = {}
        self._asked: dict[Ref[Any], dict[UUID, TicketRecord]] = {}
        self._formers: dict[UUID, dict[UUID, FormerRecord]] = {}

    def saw(self, changes: Sequence[Change], checked: Counter[int]) -> Iterator[str]:
        """What is wrong with a commit."""
        touched: dict[Ref[Any], None] = {}
        waits = False
        for change in changes:
            record = change.new if change.new is not None else change.old
            if isinstance(record, LockRecord):
                _put(self._held.setdefault(record.ref, {}), record.flow_id, change)
                touched[record.ref] = None
            elif isinstance(record, TicketRecord):
                _put(self._asked.setdefault(record.ref, {}), record.command_id, change)
                waits = waits or change.new is not None
            elif isinstance(record, FormerRecord):
                _put(self._formers.setdefault(record.flow_id, {}), record.former_id, change)
                waits = True
        for ref in touched:
            checked[10] += 1
            yield from self._overlap(ref)
        if waits:
            checked[12] += 1
            yield from self._cycle()

    def _overlap(self, ref: Ref[Any]) -> Iterator[str]:
        """10. Who holds a ref exclusively is the only flow that holds it."""
        holders = self._held[ref]
        if len(holders) > 1 and any(each.mode is LockMode.EXCLUSIVE for each in holders.values()):
            yield f"10: {ref} is held by {', '.join(f'{flow} ({each.mode})' for flow, each in holders.items())}"

    def _cycle(self) -> Iterator[str]:
        """12. Nobody waits for somebody who waits for them."""
        graph: dict[UUID, set[UUID]] = {}
        for ref, tickets in self._asked.items():
            for ticket in tickets.values():
                before = [each for each in self._held.get(ref, {}).values() if each.flow_id != ticket.flow_id]
                waits_for = {each.flow_id for each in before if LockMode.EXCLUSIVE in (each.mode, ticket.mode)}
                graph.setdefault(ticket.flow_id, set()).update(waits_for)
        for flow, formers in self._formers.items():
            graph.setdefault(flow, set()).update(id for id, each in formers.items() if each.result is None)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"12: flows wait for each other: {' -> '.join(map(str, error.args[1]))}"


def _put(rows: dict[UUID, Any], key: UUID, change: Change) -> None:
    if change.new is None:
        rows.pop(key, None)
    else:
        rows[key] = change.new
