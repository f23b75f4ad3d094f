"""Taking over: every unfinished flow is claimed and goes on from its rows alone.

The claim is committed before any phase runs; it raises the flow's term on hosts and counts the attempt.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock.catalog import Catalog, Unreadable
from interlock.clock import Clock
from interlock.coordinator.engine import Engine
from interlock.core import narration
from interlock.core.flow import Flow
from interlock.model.errors import Missing
from interlock.model.records import CommandRecord
from interlock.model.replacing import replace
from interlock.model.states import State
from interlock.model.trials import CLAIMS_MAX, RESTORED
from interlock.secrets import Keyring
from interlock.store.queries import flows
from interlock.store.queries.flows import FlowRows

#: flows loaded at a time, and tasks of ended flows that are taken up again to be cleared
LOAD_MAX = 500
UNCLEARED_MAX = 10_000
#: what is said of a flow that came from a backup
IS_OLD = (
    "this job is as a backup has it that was restored, and what was done of it since is not known here; look at its "
    "hosts, then have it tried again, or end it by force"
)

_log = structlog.get_logger(__name__)


def take_over(connection: Connection, engine: Engine, claimant: "Claimant") -> int:
    """Hands every unfinished flow to the engine, and those whose tasks hosts may still remember."""
    open_flows = flows.unfinished(connection)
    uncleared = {task.flow_id for task in flows.uncleared(connection, UNCLEARED_MAX)}
    wanted = [*open_flows, *sorted(uncleared - set(open_flows))]
    for start in range(0, len(wanted), LOAD_MAX):
        for rows in flows.load(connection, wanted[start : start + LOAD_MAX]):
            try:
                flow = assembled(rows)
            except Exception:
                _log.exception("flow_not_taken_over", flow=str(rows.job.id), remedy="run `interlock verify`")
                continue
            engine.adopt(flow, claimant.claim, suspect=claimant.after_a_crash)
    return len(open_flows)


def load(connection: Connection, flow_id: UUID) -> Flow:
    """One flow from its rows. Raises Missing where it has been removed."""
    found = flows.load(connection, [flow_id])
    if not found:
        raise Missing(f"there is no job {flow_id} any more; `interlock jobs` lists them")
    return assembled(found[0])


def assembled(rows: FlowRows) -> Flow:
    """A flow from what the store loaded."""
    return Flow.of_rows(
        [
            rows.job, *rows.commands, *rows.tasks, *rows.steps, *rows.locks, *rows.tickets, *rows.snapshots,
            *rows.leftovers, *rows.formers, *rows.uses, *rows.limit_tickets,
        ]
    )  # fmt: skip


@dataclass(frozen=True)
class Claimant:
    """Who takes over; `after_a_crash`: the engine before did not say good-bye."""

    catalog: Catalog
    keyring: Keyring
    clock: Clock
    after_a_crash: bool

    def claim(self, flow: Flow) -> None:
        """The claim of a flow: its term on hosts is raised, and who needs a person is said."""
        now = self.clock.now_us()
        if flow.root.state is State.ENDED:
            return
        is_old = flow.job.claims >= RESTORED
        claims = flow.job.claims if self.after_a_crash or is_old else 0
        job = replace(flow.job, term=flow.job.term + 1, claims=claims)
        flow.put_job(job)
        flow.add_event(now, "flow_claimed", f"taken over by an engine, term {job.term}")
        if is_old and flow.root.attention != IS_OLD:
            narration.raise_attention(flow, flow.root, IS_OLD, now)
        if job.claims >= CLAIMS_MAX:
            if flow.root.attention is None:
                words = (
                    f"{job.claims} engines died while they ran this flow; mend the cause, then stop the server "
                    "in good order and start it again: that tries once more"
                )
                narration.raise_attention(flow, flow.root, words, now)
            return
        for command in list(flow.commands.values()):
            if command.state is not State.ENDED:
                _look(flow, command, self.catalog, self.keyring, now)
        narration.attention_settled(flow)


def _look(flow: Flow, command: CommandRecord, catalog: Catalog, keyring: Keyring, now: int) -> None:
    """A command needs a person where its class is gone, or its parameters cannot be read. One that was parked for
    another reason gets its attempts anew: the code may have been mended."""
    try:
        catalog.read_command(command.name, command.version, command.parameters_json, keyring)
    except Unreadable as error:
        if command.attention != str(error):
            narration.raise_attention(flow, command, str(error), now)
        return
    if command.attention is not None:
        flow.put_command(replace(command, attention=None, attempts=0, retry_at=None))
        flow.add_event(now, "attention_cleared", f"{command.title} is tried again", command_id=command.id)
