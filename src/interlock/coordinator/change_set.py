"""What one run of a flow wants to commit, and what it needs from outside the flow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from interlock.catalog import Catalog
from interlock.coordinator.configured import ConfiguredLimits
from interlock.core.facts import Fact
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.limits import LimitRecord
from interlock.model.locks import LockMode
from interlock.model.refs import Ref
from interlock.secrets import Keyring


@dataclass
class ChangeSet:
    """What one run wants to commit, and under which conditions."""

    flow: Flow
    changes: list[Change]
    bumps: set[Ref[Any]]
    reads: dict[Ref[Any], int]
    link_reads: dict[Ref[Any], int]
    lock_wants: dict[Ref[Any], LockMode]
    needs_writer: bool = False
    #: the limits that it saw; None: it relies on none
    limits: Mapping[str, LimitRecord] | None = None
    #: what to look at in a further transaction
    later: list[Fact] = field(default_factory=list)
    #: flows that begin with this commit
    born: list[Flow] = field(default_factory=list)
    #: ended jobs of which everything goes, and signals that go
    erased: tuple[UUID, ...] = ()
    erased_signals: tuple[int, ...] = ()


@dataclass(frozen=True)
class World:
    """What a runner needs from outside a flow, all handed in."""

    catalog: Catalog
    keyring: Keyring
    new_id: Callable[[], UUID]
    incarnation_of: Callable[[Ref[Any]], str | None]
    limits: ConfiguredLimits = field(default_factory=ConfiguredLimits)
