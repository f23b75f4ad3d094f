"""Hosts that cannot be reached, that break off, or that are not who they should be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from interlock import Decision, Refused
from interlock.coordinator.recovery import load
from interlock.core.flow import Flow
from interlock.core.narration import raise_attention
from interlock.wire.authority import Authority
from interlock.wire.server import Call
from interlock.wire.tls import server_context
from tests.hosts.driving import SHORT, Driven, eventually, failure_of, images
from tests.hosts.scripted import CAPABILITIES, DELETE, STATUSES, hosting, status

RUNNING = status("running")


def last_error(driven: Driven) -> str:
    """What is said of the only host."""
    hosts = driven.coordinator.hosts()
    return str(hosts[0]["last_error"]) if hosts else ""


@pytest.mark.parametrize("stock", [True, False])
async def test_what_was_never_sent_is_refused_after_a_while_with_reason_and_remedy(tmp_path: Path, stock: bool) -> None:
    async with hosting(stock=stock) as host, Driven(tmp_path).opened(SHORT) as driven:
        await host.shut()
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(2))
        failure = await failure_of(job)
        assert driven.tasks(job.id, "state, outcome, incarnation") == [("Cleared", "REFUSED", None)] * 2
        assert driven.leftovers(job.id) == []
        assert driven.truth(thing) == "failed"
        said = (
            rf"{driven.node} has said nothing of it for \d s: cannot connect to 127.0.0.1:{host.port}: refused \(.*\)"
        )
        remedy = "it did nothing; see that the host's agent runs and can be reached, then submit again"
        for cause in failure.causes:
            assert re.fullmatch(rf"{driven.node} refused Image.delete: {said}; {remedy}", cause.message)
        assert len(failure.causes) == 2
        await host.listen()
        await (await driven.delete(thing, images(1))).result(20)
        assert len(host.asked(DELETE)) == 1
        await driven.all_cleared()


async def test_a_host_that_comes_back_in_time_is_given_its_work(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        await host.shut()
        job = await driven.delete(await driven.thing(host.port), images(3))
        await eventually("it is known to be unreachable", lambda: "refused" in last_error(driven))
        assert driven.tasks(job.id) == [("Initializing", None)] * 3
        await host.listen()
        await job.result(20)
        await driven.all_cleared()
        assert set(host.effects.values()) == {1}
        assert last_error(driven) == "None"


async def test_a_host_that_comes_back_goes_on_with_what_runs(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(3))
        await driven.all_polling(job.id)
        await host.shut()
        await eventually("it is known to be unreachable", lambda: "refused" in last_error(driven))
        assert driven.tasks(job.id) == [("Polling", None)] * 3
        host.finish_all()
        await host.listen()
        await job.result(20)
        assert len(host.asked(DELETE)) == 3


@pytest.mark.hard_case(5)
async def test_the_fate_of_what_runs_on_a_silent_host_is_unknown(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened(SHORT) as driven:
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        await driven.all_polling(job.id)
        await host.shut()
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        [(_, where, refs, reason, _)] = driven.leftovers(job.id)
        assert (where, refs) == (str(driven.node), f'["{thing}"]')
        assert reason.startswith(f"Image.delete on {driven.node} may have run or still run: ")
        assert "refused" in reason


async def test_a_host_that_breaks_off_at_every_look_is_not_stormed(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened(SHORT) as driven:

        async def breaking_off(call: Call) -> Any:
            host.cut()

        host.on[STATUSES] = breaking_off
        job = await driven.delete(await driven.thing(host.port), images(1))
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        gaps = [after - before for before, after in zip(host.came_at, host.came_at[1:], strict=False)]
        assert len(gaps) >= 2
        assert min(gaps) > SHORT.poll_s_max * 0.9


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00", b"MESSAGE\nno colon\n\n\0", b"x" * 70_000, b"MESSAGE\n\n[[[\0"]
)
async def test_bytes_that_are_no_frame_end_the_connection_and_not_the_task(tmp_path: Path, junk: bytes) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)
        host.spit(junk)
        await eventually("it connects again", lambda: len(host.came_at) == 2)
        assert driven.tasks(job.id) == [("Polling", None)]
        host.finish_all()
        await job.result(20)
        assert len(host.asked(DELETE)) == 1


async def test_an_address_that_no_connection_can_have_is_a_reason_too(tmp_path: Path) -> None:
    async with Driven(tmp_path).opened(SHORT) as driven:
        job = await driven.delete(await driven.thing(70_000), images(1))
        failure = await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "REFUSED")]
        assert "port must be 0-65535" in failure.message


async def test_a_plain_host_that_is_not_allowed_is_sent_nothing(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path, plain_hosts=False).opened(SHORT) as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        failure = await failure_of(job)
        assert f"127.0.0.1:{host.port} has no TLS name; plain TCP must be allowed with --plain-hosts" in failure.message
        assert host.came_at == []


ODD: dict[str, Any] = {
    "nothing": None,
    "a word": "interlock",
    "a list": ["interlock"],
    "an extension of nothing": {"interlock": None},
    "an extension without a journal": {"interlock": {"version": 1}},
    "a journal of numbers": {"interlock": {"version": 1, "incarnation": 7}},
    "a huge journal": {"interlock": {"version": 1, "incarnation": "x" * 100_000}},
    "a journal that is no Unicode": {"interlock": {"version": 1, "incarnation": "\ud800"}},
    "a journal by the name of stock": {"interlock": {"version": 1, "incarnation": "stock"}},
}


@pytest.mark.parametrize("capabilities", ODD.values(), ids=ODD)
async def test_a_host_with_odd_capabilities_is_not_taken_for_a_stock_host(tmp_path: Path, capabilities: Any) -> None:
    async with hosting() as host, Driven(tmp_path).opened(SHORT) as driven:

        async def odd(call: Call) -> Any:
            return capabilities

        host.on[CAPABILITIES] = odd
        job = await driven.delete(await driven.thing(host.port), images(1))
        failure = await failure_of(job)
        assert f"127.0.0.1:{host.port} does not say what it can do" in failure.message
        assert len(failure.message) < 2000
        assert {call.method for call in host.calls} == {CAPABILITIES}
        assert driven.tasks(job.id) == [("Cleared", "REFUSED")]


@pytest.mark.parametrize(
    ("of_our_authority", "name", "reason"),
    [
        (True, "host2.example", "wrong host name"),
        (False, "host1.example", "certificate refused"),
        (True, "host1.example", None),
    ],
)
async def test_a_host_with_another_certificate_is_sent_nothing(
    tmp_path: Path, of_our_authority: bool, name: str, reason: str | None
) -> None:
    ours, theirs = Authority.open(tmp_path / "ours"), Authority.open(tmp_path / "theirs")
    ours.issue_coordinator(tmp_path / "coordinator")
    (ours if of_our_authority else theirs).issue_host(name, ["127.0.0.1"], tmp_path / "host")
    tls = server_context(tmp_path / "host")
    async with hosting(tls=tls) as host, Driven(tmp_path, tmp_path / "coordinator").opened(SHORT) as driven:
        thing = await driven.thing(host.port, "host1.example")
        job = await driven.delete(thing, images(1))
        if reason is None:
            await job.result(20)
            return
        failure = await failure_of(job)
        assert f"cannot connect to 127.0.0.1:{host.port}: {reason} (" in failure.message
        assert driven.tasks(job.id) == [("Cleared", "REFUSED")]
        assert driven.leftovers(job.id) == []
        assert host.calls == []


async def test_a_host_that_does_not_take_our_certificate_is_sent_nothing(tmp_path: Path) -> None:
    ours, theirs = Authority.open(tmp_path / "ours"), Authority.open(tmp_path / "theirs")
    theirs.issue_coordinator(tmp_path / "coordinator")
    ours.issue_host("host1.example", ["127.0.0.1"], tmp_path / "host")
    ca = (tmp_path / "ours" / "ca.pem").read_bytes()
    (tmp_path / "coordinator" / "ca.pem").write_bytes(ca)  # it knows the host, the host does not know it
    tls = server_context(tmp_path / "host")
    async with hosting(tls=tls) as host, Driven(tmp_path, tmp_path / "coordinator").opened(SHORT) as driven:
        job = await driven.delete(await driven.thing(host.port, "host1.example"), images(1))
        failure = await failure_of(job)
        assert f"cannot connect to 127.0.0.1:{host.port}: certificate refused (" in failure.message
        assert driven.tasks(job.id) == [("Cleared", "REFUSED")]
        assert host.calls == []


async def test_what_was_left_by_a_person_is_never_sent(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        await host.shut()
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(2))
        await eventually("it is known to be unreachable", lambda: "refused" in last_error(driven))

        def park(flow: Flow) -> None:
            raise_attention(flow, flow.root, "look", 1)

        await driven.coordinator._engine.errand(job.id, park, lambda connection: load(connection, job.id))
        with pytest.raises(Refused, match=r"may still run: Image.delete on host:.*; wait for their end"):
            await driven.coordinator.settle(job.id, Decision.FORCE_FAILURE, by="ann", reason="x")
        await driven.coordinator.settle(job.id, Decision.FORCE_FAILURE, by="ann", reason="x", leave_tasks=True)
        await failure_of(job)
        assert driven.tasks(job.id, "state, outcome, incarnation") == [("Cleared", "UNKNOWN", None)] * 2
        assert driven.coordinator.hosts()[0]["waiting_tasks"] == 0
        await host.listen()
        for (id,) in driven.rows("SELECT id FROM leftovers"):
            await driven.coordinator.clear_leftover(UUID(bytes=id), by="ann", reason="nothing was sent")
        await (await driven.delete(thing, images(1))).result(20)
        assert len(host.asked(DELETE)) == 1
        await driven.all_cleared()
