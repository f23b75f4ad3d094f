"""Hosts without the extension: nothing of ours is sent to them, and what they cannot tell is a leftover."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from interlock import Refused
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call
from tests.hosts.driving import Driven, eventually, failure_of, images
from tests.hosts.scripted import CLEAR, DELETE, FORBID_OR_GET, MAKE, hosting


async def test_nothing_of_the_extension_is_sent_to_a_stock_host(tmp_path: Path) -> None:
    async with hosting(stock=True) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(3), correlation_id="ticket-42")
        await job.result(20)
        await (await driven.make(await driven.thing(host.port))).result(20)
        await driven.all_cleared()
        assert len(host.frames(DELETE)) == 3
        assert len(host.frames(MAKE)) == 1
        assert [frame for frame in host.frames(DELETE) + host.frames(MAKE) if b"taskID" in frame] == []
        assert b"interlock" not in host.heard
        assert host.asked(FORBID_OR_GET) == []
        # the host's own ids, and VDSM's own header, are all there is
        ours = {str(UUID(bytes=id)) for (id,) in driven.rows("SELECT id FROM async_tasks")}
        assert [id for id in ours if id.encode() in host.heard] == []
        assert len(host.asked(CLEAR)) == 3
        assert all(b"\novirtCorrelationId:ticket-42\n" in frame for frame in host.frames(DELETE))


@pytest.mark.hard_case(5, 9, 10)
@pytest.mark.parametrize("has_run", [True, False])
async def test_a_start_without_an_answer_is_a_leftover_that_blocks_its_refs(tmp_path: Path, has_run: bool) -> None:
    async with hosting(stock=True) as host, Driven(tmp_path).opened() as driven:

        async def lost(call: Call) -> Any:
            if has_run:
                await host.honest(call)
            host.cut()

        host.on[DELETE] = lost
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        failure = await failure_of(job)
        host.on.clear()
        [id] = driven.task_ids(job.id)
        node = str(driven.node)
        assert failure.message == f"the fate of Image.delete on {node} is unknown (task {id})"
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        assert len(host.asked(DELETE)) == 1  # never sent again
        [(task_id, where, refs, reason, remedy)] = driven.leftovers(job.id)
        assert (str(UUID(bytes=task_id)), where, refs) == (id, node, f'["{thing}"]')
        assert reason.startswith(f"Image.delete on {node} may have run or still run: ")
        assert remedy == f"look at {node}, then clear leftover {id}"
        assert driven.truth(thing) == "failed"
        with pytest.raises(Refused, match=re.escape(f"blocked by leftover {id} of job {job.id}")):
            await driven.delete(thing, images(1))
        assert len(host.asked(DELETE)) == 1
        await driven.coordinator.clear_leftover(UUID(id), by="ann", reason="the image is gone")
        await (await driven.delete(thing, images(1))).result(20)
        await driven.all_cleared()


async def test_a_sync_verb_without_an_answer_is_a_leftover_too(tmp_path: Path) -> None:
    async with hosting(stock=True) as host, Driven(tmp_path).opened() as driven:

        async def lost(call: Call) -> Any:
            host.cut()

        host.on[MAKE] = lost
        job = await driven.make(await driven.thing(host.port))
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        assert len(driven.leftovers(job.id)) == 1
        assert len(host.asked(MAKE)) == 1


@pytest.mark.parametrize("answer", [None, 7, "", "not an id", {"id": "x"}, "x" * 1000], ids=lambda v: repr(v)[:12])
async def test_an_answer_that_is_no_task_id_is_a_leftover_on_a_stock_host(tmp_path: Path, answer: Any) -> None:
    async with hosting(stock=True) as host, Driven(tmp_path).opened() as driven:

        async def odd(call: Call) -> Any:
            return answer

        host.on[DELETE] = odd
        job = await driven.delete(await driven.thing(host.port), images(1))
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        assert len(driven.leftovers(job.id)) == 1
        assert len(host.asked(DELETE)) == 1


@pytest.mark.hard_case(9)
async def test_a_call_in_flight_at_a_restart_is_a_leftover_and_one_never_sent_is_not(tmp_path: Path) -> None:
    """The start that the coordinator has seen go out is of unknown fate; the others never ran."""
    driven = Driven(tmp_path)
    async with hosting(stock=True) as host:
        async with driven.opened():

            async def slow(call: Call) -> Any:
                await eventually("the coordinator is gone", lambda: False, within_s=0.2)

            host.on[DELETE] = slow
            job = await driven.delete(await driven.thing(host.port), images(1))
            await eventually("it is sent", lambda: host.asked(DELETE))
        host.on.clear()
        async with driven.opened():
            root = await driven.coordinator.wait_ended(job.id, 20)
            assert root.result == "FAILED"
            assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
            assert len(driven.leftovers(job.id)) == 1
            assert len(host.asked(DELETE)) == 1


async def test_an_error_at_a_stock_start_never_ran(tmp_path: Path) -> None:
    async with hosting(stock=True) as host, Driven(tmp_path).opened() as driven:

        async def refusing(call: Call) -> Any:
            raise RpcError(654, "Not SPM")

        host.on[DELETE] = refusing
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        failure = await failure_of(job)
        assert failure.message == f"{driven.node} refused Image.delete: Not SPM"
        assert failure.causes[0].code == 654
        assert driven.tasks(job.id) == [("Cleared", "REFUSED")]
        assert driven.leftovers(job.id) == []
        host.on.clear()
        await (await driven.delete(thing, images(1))).result(20)
