"""A person settles a command that needs attention; what its class must be known for is refused where it is gone."""

from interlock.catalog import Catalog, Unreadable
from interlock.clock import Clock
from interlock.core import settling
from interlock.core.flow import Flow
from interlock.core.settling import Settlement
from interlock.model.decisions import Decision
from interlock.model.errors import Refused
from interlock.model.records import TaskRecord
from interlock.secrets import Keyring


def settle(flow: Flow, wish: Settlement, catalog: Catalog, keyring: Keyring, clock: Clock) -> list[TaskRecord]:
    """Writes the decision into the flow; returns the tasks that are to be left. Raises Refused, Missing."""
    command = settling.chosen(flow, wish)
    if wish.decision is not Decision.FORCE_FAILURE:
        try:
            catalog.read_command(command.name, command.version, command.parameters_json, keyring)
        except Unreadable as error:
            raise Refused(f"{error}; without it the command can only be forced to fail") from None
    return settling.settle(flow, command, wish, clock.now_us())
