"""Setting limits while everything runs: durable when it returns, and in force for whatever starts from then on."""

from typing import Any
from uuid import UUID, uuid5

from interlock.catalog import Catalog
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.controlling import Controlling
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.ids import new_id
from interlock.model.actions import Action
from interlock.model.changes import Change
from interlock.model.errors import InvalidInput, Missing
from interlock.model.limits import (
    AT_MOST_MAX,
    KEY_MAX,
    OF_COMMAND,
    OF_HOST,
    OF_KEY,
    STARTS_MAX,
    WINDOW_S_MAX,
    LimitRecord,
    LimitUseRecord,
)
from interlock.model.refs import Ref
from interlock.model.text import require_storable
from interlock.model.wishes import Wish, action, checked

#: what limits are counted under in the record of actions
_SUBJECTS = UUID("6f2c0a52-6a43-4b0e-9d57-3b0f7f1f6e0b")


class LimitSetting(Controlling):
    """An open coordinator, as far as limits are set and removed. Audited."""

    async def set_limit(
        self,
        key: str,
        *,
        at_most: int | None = None,
        starts_max: int | None = None,
        window_s: float | None = None,
        by: str,
        reason: str = "",
    ) -> str:
        """Of what `key` counts at most so many run at once, and at most `starts_max` start within `window_s`.

        A key is `command:TYPE`, `host:NAME` (or its id; also the async tasks under way on it, counted by
        themselves), or `key:TEXT` for what commands name by `limited_by`. What runs is never stopped by it; with
        `at_most=0` nothing more starts. Returns the key as it is kept. Raises InvalidInput, Missing.
        """
        self._check_works()
        wish, kept = checked(Wish(new_id(), by, reason)), self._limit_key(key)
        wanted = LimitRecord(kept, at_most, starts_max, _window(window_s), by, self._clock.now_us())
        _check(wanted)
        world = self._supervision.world
        await self._in_turn(lambda: self._engine.write(lambda snapshot, now: _set(wanted, wish, world, snapshot, now)))
        return kept

    async def remove_limit(self, key: str, *, by: str, reason: str = "") -> None:
        """Whatever waits because of it goes on. Raises Missing where there is no such limit."""
        self._check_works()
        wish, world = checked(Wish(new_id(), by, reason)), self._supervision.world
        kept = key if key in world.limits.now else self._limit_key(key)  # what it counts may be gone by now
        await self._in_turn(lambda: self._engine.write(lambda snapshot, now: _remove(kept, wish, world, snapshot, now)))

    def limits(self) -> list[LimitRecord]:
        """The limits in force, by key."""
        return sorted(self._supervision.world.limits.now.values(), key=lambda limit: limit.key)

    def _limit_key(self, given: str) -> str:
        """The key as it is kept. Raises InvalidInput, Missing."""
        require_storable("the key", given)
        if len(given) > KEY_MAX:
            raise InvalidInput(f"the key has {len(given)} letters; at most {KEY_MAX}")
        if given.startswith(OF_KEY) and len(given) > len(OF_KEY):
            return given
        if given.startswith(OF_COMMAND):
            name = given.removeprefix(OF_COMMAND)
            if name not in self.catalog.commands:
                raise Missing(f"there is no command {name!r}; `interlock commands` lists them")
            return given
        if given.startswith(OF_HOST):
            return f"{OF_HOST}{self._host_of(given.removeprefix(OF_HOST))}"
        raise InvalidInput(f"the key {given!r} counts nothing; write command:TYPE, host:NAME or key:TEXT")

    def _host_of(self, text: str) -> UUID:
        kinds = _host_types(self.catalog)
        for kind in kinds:
            try:
                return self.named(f"{kind}:{text}").id
            except Missing:
                continue
        raise Missing(f"there is no host {text!r}; `interlock hosts` lists them")


def _host_types(catalog: Catalog) -> list[str]:
    return sorted(name for name, kind in catalog.entities.items() if hasattr(kind, "endpoint"))


def _window(window_s: float | None) -> int | None:
    return None if window_s is None else round(window_s * 1e6)


def _check(limit: LimitRecord) -> None:
    """Raises InvalidInput with everything wrong."""
    wrong = []
    if limit.at_most is None and limit.starts_max is None:
        wrong.append("it limits nothing; say how many at most, or how many starts within which time")
    if limit.at_most is not None and not 0 <= limit.at_most <= AT_MOST_MAX:
        wrong.append(f"at most {limit.at_most}; it must be 0 to {AT_MOST_MAX}")
    if (limit.starts_max is None) is not (limit.window_us is None):
        wrong.append("so many starts, and within which time, go together")
    if limit.starts_max is not None and not 1 <= limit.starts_max <= STARTS_MAX:
        wrong.append(f"{limit.starts_max} starts; it must be 1 to {STARTS_MAX}")
    if limit.window_us is not None and not 0 < limit.window_us <= WINDOW_S_MAX * 1e6:
        wrong.append(f"within {limit.window_us / 1e6:g} s; it must be more than 0 and at most {WINDOW_S_MAX:g}")
    if wrong:
        raise InvalidInput(*(f"limit {limit.key}: {each}" for each in wrong))


def _set(wanted: LimitRecord, wish: Wish, world: World, snapshot: Snapshot, now: int) -> ChangeSet:
    """What runs already counts from the beginning, as far as its type says so."""
    known = world.limits.now.get(wanted.key)
    changes = [Change(known, wanted)]
    if known is None and wanted.key.startswith(OF_COMMAND):
        changes += [
            Change(None, LimitUseRecord(id, wanted.key, flow_id, since))
            for id, flow_id, since in snapshot.running_commands(wanted.key.removeprefix(OF_COMMAND))
        ]
    return _change_set(changes, wish, Action.LIMIT_SET, wanted.key, known, wanted, snapshot, now)


def _remove(key: str, wish: Wish, world: World, snapshot: Snapshot, now: int) -> ChangeSet:
    known = world.limits.now.get(key)
    if known is None:
        raise Missing(f"there is no limit {key}; `interlock limit list` lists them")
    changes = [Change(known, None), *(Change(use, None) for use in snapshot.all_uses(key))]
    return _change_set(changes, wish, Action.LIMIT_REMOVE, key, known, None, snapshot, now)


def _change_set(
    changes: list[Change],
    wish: Wish,
    what: Action,
    key: str,
    known: LimitRecord | None,
    wanted: LimitRecord | None,
    snapshot: Snapshot,
    now: int,
) -> ChangeSet:
    subject: Ref[Any] = Ref("limit", uuid5(_SUBJECTS, key))
    before = _told(known) | ({} if wanted else {"key": key})
    after = _told(wanted) | ({"key": key} if wanted else {})
    done = Change(None, action(wish, what, subject, now, None, before, after))
    return ChangeSet(Flow(wish.id), [*changes, done], set(), snapshot.reads, snapshot.link_reads, {}, needs_writer=True)


def _told(limit: LimitRecord | None) -> dict[str, Any]:
    if limit is None:
        return {}
    window_s = None if limit.window_us is None else limit.window_us / 1e6
    return {"at_most": limit.at_most, "starts_max": limit.starts_max, "window_s": window_s}
