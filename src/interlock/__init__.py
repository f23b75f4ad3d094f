"""Interlock: a durable command coordinator. What someone who writes commands imports, nothing else."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.catalog import Catalog
    from interlock.command import Child, Command, Local, Monitor, Reader, TaskResult, Tx
    from interlock.coordinator.coordinator import Coordinator
    from interlock.coordinator.job import CommandFailed, Job
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

#: what each module gives
_GIVEN = {
    "interlock.catalog": ("Catalog",),
    "interlock.command": ("Child", "Command", "Local", "Monitor", "Reader", "TaskResult", "Tx"),
    "interlock.coordinator.coordinator": ("Coordinator",),
    "interlock.coordinator.job": ("CommandFailed", "Job"),
    "interlock.model.awaited": ("approval", "detached", "end_of", "signal", "until"),
    "interlock.model.calls": ("AfterPolicy", "CallOrder", "Context"),
    "interlock.model.decisions": ("Decision",),
    "interlock.model.entities": ("Endpoint", "Entity"),
    "interlock.model.errors": (
        "Bug",
        "HostFailed",
        "InterlockError",
        "InvalidInput",
        "KeyReused",
        "Locked",
        "Missing",
        "NameTaken",
        "NotAllowed",
        "NotOwner",
        "Refused",
    ),
    "interlock.model.failure": ("Cause", "Failure", "Refusals", "refuse"),
    "interlock.model.locks": ("NO_LOCKS", "Locks", "LockScope", "exclusive", "shared"),
    "interlock.model.plan": (
        "NOTHING",
        "Plan",
        "Retry",
        "first_of",
        "local",
        "on_host",
        "parallel",
        "part",
        "sequence",
    ),
    "interlock.model.refs": ("Ref",),
    "interlock.model.states": ("Ends", "Outcome", "Result", "State"),
    "interlock.model.waits": ("Approval",),
    "interlock.secrets": ("Secret",),
}
_WHERE = {name: module for module, names in _GIVEN.items() for name in names}


def __getattr__(name: str) -> Any:
    """Loads each name when it is first asked for: agents and the command line need almost none of them."""
    if name not in _WHERE:
        raise AttributeError(f"module 'interlock' has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(_WHERE[name]), name)
    return found
