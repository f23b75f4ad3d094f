"""A caller that starts, repeats, stops, clears, asks and reconnects by chance, and checks every answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from interlock.verbs import Code
from interlock.wire.client import Client, ConnectFailed, NotSent, RpcError, Unanswered
from tests.agent.asked import POOL, fresh
from tests.agent.load_model import Fate, Image, Wish

WAIT_S = 60.0
_RECONNECT_S = 0.02
SIZE = 64 << 10


@dataclass
class Site:
    """What all callers share: where the agent is, and what has happened."""

    root: Path
    domains: list[str]
    #: A volume that is copied: its domain, image and id.
    source: tuple[str, str, str]
    port: int = 0
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Caller:
    """One connection after the other, and the tasks that they are about."""

    site: Site
    random: Random
    #: It starts tasks while it has fewer unfinished ones.
    unfinished_max: int
    images: list[Image] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    client: Client | None = None

    @property
    def open(self) -> list[Wish]:
        """The tasks whose end is not known."""
        return [wish for wish in self.wishes if wish.is_open]

    async def act(self, until: Callable[[], bool]) -> None:
        """Starts as many tasks as it may have unfinished, then does one thing after another."""
        for _ in range(self.unfinished_max):
            await self._start(self._new_wish())
        while not until():
            if len(self.open) < self.unfinished_max and self.random.random() < 0.6:
                await self._start(self._new_wish())
            elif self.wishes:
                await self._something()

    async def settle(self, share_stopped: float) -> None:
        """Sends again what may not have been accepted, stops a share of what is unfinished, and learns every end."""
        for wish in self.open:
            if wish.fate is not Fate.ACCEPTED:
                await self._start(wish)
            if wish.is_open and self.random.random() < share_stopped:
                await self._stop(wish)
        for wish in self.wishes:
            while wish.is_open:
                if wish.fate is Fate.ACCEPTED:
                    await self._ask(wish)
                else:
                    await self._start(wish)

    async def close(self) -> None:
        """Ends the connection."""
        if self.client is not None:
            await self.client.close()
            self.client = None

    async def _something(self) -> None:
        wish = self.random.choice(self.open or self.wishes)
        anyone = self.random.choice(self.wishes)
        chance = self.random.random()
        if chance < 0.55:
            await self._ask(wish)
        elif chance < 0.65:
            await self._stop(wish)
        elif chance < 0.85:
            await self._clear(anyone)
        elif chance < 0.95:
            await self._start(anyone)
        elif chance < 0.99:
            await self._ask_and_hang_up(wish)
        else:
            await self._ask_for_all()

    def _new_wish(self) -> Wish:
        chance = self.random.random()
        removable = [image for image in self.images if image.may_be_removed]
        if removable and chance < 0.4:
            return self._removal(self.random.choice(removable))
        domain, image, volume = self.random.choice(self.site.domains), fresh(), fresh()
        folder = self.site.root / domain / "images" / image
        if chance < 0.9:
            names = {"storagepoolID": POOL, "storagedomainID": domain, "imageID": image, "volumeID": volume}
            wish = Wish(fresh(), "Volume.create", {**names, "size": SIZE, "volFormat": 5}, folder / volume)
        else:
            there, source_image, source = self.site.source
            names = {"storagepoolID": POOL, "storagedomainID": there, "imageID": source_image, "volumeID": source}
            target = {"dstSdUUID": domain, "dstImgUUID": image, "dstVolUUID": volume, "volFormat": 5}
            wish = Wish(fresh(), "Volume.copy", {**names, **target}, folder / volume)
        self.images.append(Image(wish))
        self.wishes.append(wish)
        return wish

    def _removal(self, image: Image) -> Wish:
        path = image.made_by.image
        names = {"storagepoolID": POOL, "storagedomainID": path.parents[2].name, "imageID": path.parent.name}
        wish = Wish(fresh(), "Image.delete", names, path)
        image.removed_by.append(wish)
        self.wishes.append(wish)
        return wish

    async def _start(self, wish: Wish) -> None:
        if wish.fate is Fate.NOT_STARTED:
            wish.fate = Fate.UNKNOWN
        try:
            answer = await self._call(wish.method, {**wish.params, "taskID": wish.id})
        except RpcError as error:
            self.site.counts["full" if error.code == Code.RESOURCE_EXHAUSTED else "refused again"] += 1
            wish.refused(error.code)
        else:
            if answer is not None:
                assert answer == wish.id
                wish.accepted()

    async def _ask(self, wish: Wish) -> None:
        try:
            status = await self._call("Task.getStatus", {"taskID": wish.id})
        except RpcError as error:
            wish.unknown(error.code)
        else:
            if status is not None:
                wish.seen(status)
                if wish.has_succeeded and wish.inode is None and wish.method != "Image.delete":
                    wish.inode = self._inode(wish)

    def _inode(self, wish: Wish) -> int | None:
        """Of the volume that was made, unless it may be removed by now."""
        image = next(image for image in self.images if image.made_by is wish)
        return wish.image.stat().st_ino if not image.removed_by else None

    async def _ask_and_hang_up(self, wish: Wish) -> None:
        """The connection is closed while a start or a question is on its way."""
        work = asyncio.ensure_future(self._start(wish) if self.random.random() < 0.5 else self._ask(wish))
        await asyncio.sleep(0)
        self.site.counts["reconnected"] += 1
        await self.close()
        await work

    async def _ask_for_all(self) -> None:
        """Whatever was accepted before the question is in the answer, unless it was, or may have been, cleared."""
        asked = [wish for wish in self.wishes if wish.fate is Fate.ACCEPTED and not wish.is_clear_sent]
        statuses = await self._call("Host.getAllTasksStatuses", {})
        if statuses is not None:
            for wish in asked:
                assert wish.id in statuses, f"{wish.id} is missing among all statuses"
                wish.seen(statuses[wish.id])

    async def _stop(self, wish: Wish) -> None:
        wish.is_stop_sent = True
        try:
            await self._call("Task.stop", {"taskID": wish.id})
        except RpcError as error:
            wish.unknown(error.code)

    async def _clear(self, wish: Wish) -> None:
        """Only of what the caller has seen succeed or fail: the images would not be known otherwise."""
        if wish.is_open:
            return
        was_sent, wish.is_clear_sent = wish.is_clear_sent, True
        try:
            answer = await self._call("Task.clear", {"taskID": wish.id})
        except RpcError as error:
            wish.unknown(error.code)
            assert was_sent, f"{wish.id} was cleared by nobody"
        else:
            if answer is not None:
                assert not wish.is_cleared, f"{wish.id} was cleared twice"
                wish.is_cleared = True
                self.site.counts["cleared"] += 1

    async def _call(self, method: str, params: Mapping[str, Any]) -> Any:  # Any: JSON values
        """The answer; None if it was lost. Raises `RpcError`."""
        client = await self._connected()
        self.site.counts["calls"] += 1
        try:
            return await client.call(method, params, timeout_s=WAIT_S)
        except (Unanswered, NotSent):
            self.site.counts["unanswered"] += 1
            return None

    async def _connected(self) -> Client:
        async with asyncio.timeout(WAIT_S):
            while self.client is None or not self.client.is_open:
                try:
                    self.client = await Client.connect("127.0.0.1", self.site.port, tls=None, server_name=None)
                except ConnectFailed:  # the agent is being started again
                    await asyncio.sleep(_RECONNECT_S)
        return self.client
