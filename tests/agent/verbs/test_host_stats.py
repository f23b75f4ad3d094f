"""Host.getStats: what the kernel, the file systems and the agent itself say at the moment."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from interlock.verbs import Code
from tests.agent.asked import POOL, Asked, asked, fresh


async def stats(agent: Asked) -> dict[str, Any]:
    found: dict[str, Any] = await agent.call("Host.getStats", {})
    return found


async def test_how_the_host_does(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        found = await stats(agent)
    total_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    assert 0 <= int(found.pop("memUsed")) <= 100
    assert 0 < found.pop("memFree") < total_mib
    assert 0 < found.pop("memAvailable") < total_mib
    assert 0 <= found.pop("swapFree") <= found.pop("swapTotal")
    assert re.fullmatch(r"\d+\.\d\d", found.pop("cpuLoad"))
    assert 0 < found.pop("bootTime") < time.time()
    assert found.pop("elapsedTime").isdigit()
    told = time.strptime(found.pop("dateTime"), "%Y-%m-%dT%H:%M:%S GMT")
    assert abs(time.mktime(told) - time.mktime(time.gmtime())) < 60
    assert found.pop("interlock")["journalBytes"] > 0
    assert found == {"vmCount": 0, "vmActive": 0, "vmMigrating": 0, "storageDomains": {}}


async def test_tasks_are_counted(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        await domain.volume()
        assert (await stats(agent))["interlock"].items() >= {"tasks": 1, "unfinished": 0}.items()


async def test_each_storage_domain_and_its_room(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domains = [await agent.domain() for _ in range(2)]
        (agent.root / "a" / "b").mkdir(parents=True)
        nested = {"storagedomainID": fresh(), "domainName": "d", "typeArgs": str(agent.root / "a" / "b"), "version": 4}
        await agent.call("StorageDomain.create", nested)
        (agent.root / fresh()).symlink_to(domains[0].images.parent)
        await domains[1].volume()
        await agent.call(
            "StorageDomain.detach", {"storagedomainID": domains[1].id, "storagepoolID": POOL, "force": True}
        )
        found = (await stats(agent))["storageDomains"]
        room = os.statvfs(agent.root)
        for told in found.values():
            assert float(told.pop("delay")) >= 0
            assert abs(int(told.pop("diskfree")) - room.f_bavail * room.f_frsize) < 1 << 30
        size = str(room.f_blocks * room.f_frsize)
        usual = {"code": 0, "valid": True, "version": 5, "lastCheck": "0.0", "disktotal": size}
        detached = {"code": Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL, "valid": False}
        assert found == {
            domains[0].id: usual,
            domains[1].id: {**usual, **detached},
            nested["storagedomainID"]: {**usual, "version": 4},
        }


async def test_a_domain_that_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        (domain.images.parent / "dom_md" / "metadata").write_text("VERSION=5\n")
        told = (await stats(agent))["storageDomains"][domain.id]
        assert (told["code"], told["valid"], told["version"]) == (Code.VOLUME_METADATA_READ_ERROR, False, -1)


async def test_a_stock_host_tells_nothing_of_ours(tmp_path: Path) -> None:
    async with asked(tmp_path, stock=True) as agent:
        assert "interlock" not in await stats(agent)
