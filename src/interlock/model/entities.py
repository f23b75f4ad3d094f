"""Entities: business objects (VM, disk, host, …) declared by a catalog and kept as versioned rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, dataclass_transform, runtime_checkable
from uuid import UUID

from interlock.model.refs import Ref

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=True)
class _FrozenClass:
    """Marks subclasses as frozen dataclasses for type checkers."""


class Entity(_FrozenClass):
    """Base of business objects. A subclass is a frozen dataclass, stored as JSON under `type` and `version`.

    `class Vm(Entity, type="vm", version=2, upgrades={1: add_memory})`: `upgrades[n]` is a pure function
    from the stored fields of version n to those of n + 1. A field `status` (an enum) is stored beside the
    body so that it can be searched. Ref fields, also within tuples, make the entity found by `find`.
    """

    entity_type: ClassVar[str]
    entity_version: ClassVar[int]
    entity_upgrades: ClassVar[Mapping[int, Upgrade]]
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    id: UUID
    name: str | None = None

    def __init_subclass__(cls, *, type: str, version: int = 1, upgrades: Mapping[int, Upgrade] | None = None) -> None:
        cls.entity_type = type
        cls.entity_version = version
        cls.entity_upgrades = dict(upgrades or {})
        missing = [n for n in range(1, version) if n not in cls.entity_upgrades]
        if missing:
            raise TypeError(f"entity {type} is version {version} but has no upgrade from {missing}")
        dataclass(frozen=True, kw_only=True)(cls)

    @property
    def ref(self) -> Ref[Self]:
        """The ref that names this entity."""
        return Ref(self.entity_type, self.id)


dataclass(frozen=True, kw_only=True)(Entity)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a host's agent listens. `server_name` is the name its certificate must bear; None = plain TCP."""

    address: str
    port: int
    server_name: str | None


@runtime_checkable
class HostEntity(Protocol):
    """What an entity offers to be the host of async tasks."""

    def endpoint(self) -> Endpoint: ...
