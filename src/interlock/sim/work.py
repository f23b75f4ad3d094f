"""The programs of simulated verbs: steps of every kind, which take their time, may fail, and are told to `Storage`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from interlock.agent.records import StepFailed
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, domain_resource, image_resource, stopped
from interlock.sim.storage import BLIND, Image, Place, Storage
from interlock.sim.timeline import Timeline
from interlock.verbs import (
    Code,
    ImageCloneStructure,
    ImageDelete,
    ImageSyncData,
    StorageDomainCreate,
    StorageDomainDetach,
    Verb,
    VolumeCopy,
    VolumeCreate,
    VolumeExtendSize,
)

#: how long a step takes: mostly up to the first, now and then up to the second
SHORT_S, LONG_S, LONG_SHARE = 1.0, 30.0, 0.15
#: how many of the steps fail by themselves
FAILING_SHARE = 0.06
_TICKS = 4

# Any: a work, or a verb, of the step's own kind
Act = Callable[[Work[Any]], Awaitable[None]]
Effect = Callable[[Work[Any]], None]
ToPlace = Callable[[Any], Place]


class Programs:
    """How one host carries out its verbs."""

    def __init__(self, timeline: Timeline, storage: Storage) -> None:
        self._timeline = timeline
        self._storage = storage

    def all(self) -> Mapping[type[Verb], Program[Any]]:
        """By verb; a step of each kind is among them."""
        fill = Step("fill", StepKind.REPEATABLE, self._doing("fill", self._fill), is_no_return=True)
        once = {name: Step(name, StepKind.ONCE, self._doing(name)) for name in BLIND}
        extend = Step(
            "extend", StepKind.OBSERVABLE, self._doing("extend"),
            holds=lambda work: self._storage.made[work.task_id, "extend"] > 0, is_no_return=True,
        )  # fmt: skip
        return {
            VolumeCreate: Program((self._reserve(), self._make(_own)), _locks_of(_own)),
            VolumeCopy: Program((self._reserve(), self._make(_copy)), _locks_of(_copy)),
            ImageCloneStructure: Program((self._make(_other, is_whole=False),), _locks_of(_other)),
            ImageSyncData: Program((fill,), _locks_of(_other)),
            VolumeExtendSize: Program((extend,), _locks_of(_own)),
            ImageDelete: Program(
                (
                    Step("hide", StepKind.REPEATABLE, self._doing("hide"), undo=self._undoing("hide")),
                    Step("remove", StepKind.REPEATABLE, self._doing("remove", self._remove), is_no_return=True),
                ),
                _locks_of(_own),
            ),
            StorageDomainCreate: Program((once["format"],), _alone),
            StorageDomainDetach: Program((once["detach"],), _alone),
        }

    def _reserve(self) -> Step[Any]:
        return Step("reserve", StepKind.REPEATABLE, self._doing("reserve"), undo=self._undoing("reserve"))

    def _make(self, place_of: ToPlace, *, is_whole: bool = True) -> Step[Any]:
        images = self._storage.images

        def make(work: Work[Any]) -> None:
            there = images.get(place_of(work.verb))
            if there is not None and there.maker != work.task_id:
                raise StepFailed(Code.VOLUME_ALREADY_EXISTS, f"image {place_of(work.verb)} is there already")
            images[place_of(work.verb)] = Image(work.task_id, is_whole)

        def unmake(work: Work[Any]) -> None:
            there = images.get(place_of(work.verb))
            if there is not None and there.maker == work.task_id:
                del images[place_of(work.verb)]

        def holds(work: Work[Any]) -> bool:
            there = images.get(place_of(work.verb))
            return there is not None and there.maker == work.task_id

        do, undo = self._doing("make", make), self._undoing("make", unmake)
        return Step("make", StepKind.OBSERVABLE, do, holds=holds, undo=undo)

    def _fill(self, work: Work[ImageSyncData]) -> None:
        there = self._storage.images.get(_other(work.verb))
        if there is None:
            raise StepFailed(Code.IMAGE_DOES_NOT_EXIST_IN_SD, f"image {_other(work.verb)} is not there")
        there.is_whole = True

    def _remove(self, work: Work[ImageDelete]) -> None:
        self._storage.images.pop(_own(work.verb), None)

    def _doing(self, step: str, effect: Effect | None = None) -> Act:
        async def do(work: Work[Any]) -> None:
            chance = self._timeline.chance(f"{self._storage.name} {work.task_id} {step}")
            fails = chance.random() < FAILING_SHARE
            await self._pass(chance.uniform(0, LONG_S if chance.random() < LONG_SHARE else SHORT_S), work)
            if fails:
                is_half_done = step in BLIND  # the others leave nothing, or take it back
                self._storage.made[work.task_id, step] += is_half_done
                raise StepFailed(Code.GENERAL, f"the simulated disk has a fault in {step}", is_unclean=is_half_done)
            if effect is not None:
                effect(work)
            self._storage.made[work.task_id, step] += 1
            self._storage.after_effect(step)

        return do

    def _undoing(self, step: str, effect: Effect | None = None) -> Act:
        async def undo(work: Work[Any]) -> None:
            chance = self._timeline.chance(f"{self._storage.name} {work.task_id} undo {step}")
            await asyncio.sleep(chance.uniform(0, SHORT_S))
            if self._storage.made[work.task_id, step] > self._storage.undone[work.task_id, step]:
                self._storage.undone[work.task_id, step] = self._storage.made[work.task_id, step]
            if effect is not None:
                effect(work)

        return undo

    async def _pass(self, for_s: float, work: Work[Any]) -> None:
        """Works for so long, telling how far it is; raises StepFailed when it is to stop."""
        for tick in range(_TICKS):
            slower = 100 if self._timeline.now_s < self._storage.slow_until_s else 1
            try:
                async with asyncio.timeout(for_s * slower / _TICKS):
                    await work.stop.wait()
            except TimeoutError:
                work.report(100 * tick // _TICKS)
            else:
                raise stopped()


def _own(verb: VolumeCreate | ImageDelete | VolumeExtendSize) -> Place:
    return verb.storagedomainID, verb.imageID


def _other(verb: ImageCloneStructure | ImageSyncData) -> Place:
    return verb.dstSdUUID, verb.imageID


def _copy(verb: VolumeCopy) -> Place:
    return verb.dstSdUUID, verb.dstImgUUID


def _locks_of(place_of: ToPlace) -> Callable[[Any], tuple[Resource, ...]]:
    def resources(verb: Any) -> tuple[Resource, ...]:
        domain, image = place_of(verb)
        return domain_resource(domain, is_exclusive=False), image_resource(domain, image, is_exclusive=True)

    return resources


def _alone(verb: StorageDomainCreate | StorageDomainDetach) -> tuple[Resource, ...]:
    return (domain_resource(verb.storagedomainID, is_exclusive=True),)
