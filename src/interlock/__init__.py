"""Interlock: a durable command coordinator. What someone who writes commands imports, nothing else."""

from typing import TYPE_CHECKING, Any

from interlock.command import Child, Command, Local, Monitor, Reader, TaskResult, Tx
from interlock.model.awaited import approval, detached, end_of, signal, until
from interlock.model.calls import AfterPolicy, CallOrder, Context
from interlock.model.decisions import Decision
from interlock.model.entities import Endpoint, Entity
from interlock.model.errors import (
    Bug,
    HostFailed,
    InterlockError,
    InvalidInput,
    KeyReused,
    Locked,
    Missing,
    NameTaken,
    NotAllowed,
    NotOwner,
    Refused,
)
from interlock.model.failure import Cause, Failure, Refusals, refuse
from interlock.model.locks import NO_LOCKS, Locks, LockScope, exclusive, shared
from interlock.model.plan import NOTHING, Plan, Retry, first_of, local, on_host, parallel, part, sequence
from interlock.model.refs import Ref
from interlock.model.states import Ends, Outcome, Result, State
from interlock.model.waits import Approval
from interlock.secrets import Secret

if TYPE_CHECKING:
    from interlock.catalog import Catalog
    from interlock.coordinator.coordinator import Coordinator
    from interlock.coordinator.job import CommandFailed, Job

__all__ = [
    "NOTHING",
    "NO_LOCKS",
    "AfterPolicy",
    "Approval",
    "Bug",
    "CallOrder",
    "Catalog",
    "Cause",
    "Child",
    "Command",
    "CommandFailed",
    "Context",
    "Coordinator",
    "Decision",
    "Endpoint",
    "Ends",
    "Entity",
    "Failure",
    "HostFailed",
    "InterlockError",
    "InvalidInput",
    "Job",
    "KeyReused",
    "Local",
    "LockScope",
    "Locked",
    "Locks",
    "Missing",
    "Monitor",
    "NameTaken",
    "NotAllowed",
    "NotOwner",
    "Outcome",
    "Plan",
    "Reader",
    "Ref",
    "Refusals",
    "Refused",
    "Result",
    "Retry",
    "Secret",
    "State",
    "TaskResult",
    "Tx",
    "approval",
    "detached",
    "end_of",
    "exclusive",
    "first_of",
    "local",
    "on_host",
    "parallel",
    "part",
    "refuse",
    "sequence",
    "shared",
    "signal",
    "until",
]

_LATE = {
    "Catalog": "interlock.catalog",
    "Coordinator": "interlock.coordinator.coordinator",
    "CommandFailed": "interlock.coordinator.job",
    "Job": "interlock.coordinator.job",
}


def __getattr__(name: str) -> Any:
    """Loads what needs the database only when it is asked for, so that an agent starts light."""
    if name not in _LATE:
        raise AttributeError(f"module 'interlock' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
