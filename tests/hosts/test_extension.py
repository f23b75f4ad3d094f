"""Hosts with the extension: what every call bears, and that each start has its effect once."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from interlock.coordinator.host_watch import CALLS_MAX
from interlock.coordinator.watched import Patience
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call
from tests.hosts.driving import SHORT, Driven, Read, eventually, failure_of, images
from tests.hosts.scripted import (
    CAPABILITIES,
    CLEAR,
    DELETE,
    FORBID_OR_GET,
    MAKE,
    READING,
    STATUSES,
    ScriptedHost,
    hosting,
    params_bytes,
)

Way = Callable[[ScriptedHost, Call], Awaitable[Any]]


def bears_all(call: Call, flow: UUID, term: int, correlation: str) -> bool:
    """Whether the call carries flow, term and correlation id."""
    wanted = {"interlockFlow": str(flow), "interlockTerm": str(term), "ovirtCorrelationId": correlation}
    return {name: call.headers.get(name) for name in wanted} == wanted


async def test_every_changing_call_bears_its_id_flow_term_and_correlation(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(2), correlation_id="ticket-42")
        await job.result(20)
        made = await driven.make(await driven.thing(host.port))
        await made.result(20)
        await driven.all_cleared()
        ids, [made_id] = driven.task_ids(job.id), driven.task_ids(made.id)
        assert [call.params["taskID"] for call in host.asked(DELETE)] == ids
        assert [call.params["taskID"] for call in host.asked(MAKE)] == [made_id]
        assert sorted(call.params["taskID"] for call in host.asked(CLEAR)) == sorted([*ids, made_id])
        for call in host.calls:
            if call.method in READING:
                named = {name for name in call.headers if name.startswith("interlock")}
                whose = {"interlockCluster", "interlockGeneration"}
                assert named == (set() if call.method == CAPABILITIES else whose)  # then it is not known yet
            elif call.params["taskID"] == made_id:
                assert bears_all(call, made.id, 1, str(made.id))
            else:
                assert bears_all(call, job.id, 1, "ticket-42")
        assert set(host.effects.values()) == {1}
        assert host.tasks == {}


async def test_a_reading_verb_bears_no_task_id_and_its_failure_leaves_nothing(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def missing(call: Call) -> Any:
            raise RpcError(201, "Volume does not exist")

        host.on["Volume.getInfo"] = missing
        thing = await driven.thing(host.port)
        job = await driven.coordinator.submit(Read(node=driven.node, thing=thing))
        await failure_of(job)
        assert driven.tasks(job.id, "state, outcome, code") == [("Cleared", "FAILED", 201)]
        assert "taskID" not in host.asked("Volume.getInfo")[0].params
        assert driven.leftovers(job.id) == []


async def no_answer(host: ScriptedHost, call: Call) -> Any:
    """The connection breaks before the host begins."""
    host.cut()


async def no_answer_to_done(host: ScriptedHost, call: Call) -> Any:
    """The connection breaks when the host has done it."""
    await host.honest(call)
    host.cut()


async def internal_error(host: ScriptedHost, call: Call) -> Any:
    """The host did it, and then failed to say so."""
    await host.honest(call)
    raise RpcError(-32603, "Internal error")


async def another_id(host: ScriptedHost, call: Call) -> Any:
    """The host did it, and names another task."""
    await host.honest(call)
    return "0192f0c1-0000-7000-8000-000000000000"


async def no_id(host: ScriptedHost, call: Call) -> Any:
    """The host did it, and answers what is no id."""
    await host.honest(call)
    return {"id": "x"}


WAYS = [no_answer, no_answer_to_done, internal_error]


@pytest.mark.parametrize(
    ("method", "way"), [*((DELETE, way) for way in [*WAYS, another_id, no_id]), *((MAKE, way) for way in WAYS)]
)
async def test_a_start_without_an_answer_has_its_effect_once(tmp_path: Path, method: str, way: Way) -> None:
    """Known: adopted (or its kept answer fetched); unknown: sent again, the same id and the same bytes."""
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def once(call: Call) -> Any:
            del host.on[method]
            return await way(host, call)

        host.on[method] = once
        thing = await driven.thing(host.port)
        job = await (driven.delete(thing, images(1)) if method == DELETE else driven.make(thing))
        await job.result(20)
        await driven.all_cleared()
        [id] = driven.task_ids(job.id)
        is_adopted = method == DELETE and way is not no_answer
        assert [call.params for call in host.asked(FORBID_OR_GET)] == [{"taskID": id, "flow": str(job.id), "term": 1}]
        assert bears_all(host.asked(FORBID_OR_GET)[0], job.id, 1, str(job.id))
        starts = host.frames(method)
        assert len(starts) == (1 if is_adopted else 2)
        assert {params_bytes(frame) for frame in starts} == {params_bytes(starts[0])}
        assert all(bears_all(call, job.id, 1, str(job.id)) for call in host.asked(method))
        assert set(host.effects.values()) == {1}
        assert host.effects[id] == 1
        assert driven.truth(thing) == "done"
        assert driven.leftovers(job.id) == []


@pytest.mark.hard_case(3)
@pytest.mark.parametrize("method", [DELETE, MAKE])
async def test_a_start_without_an_answer_is_lost_with_the_journal(tmp_path: Path, method: str) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def reinstalled(call: Call) -> Any:
            await host.honest(call)
            host.forget()
            host.cut()

        host.on[method] = reinstalled
        thing = await driven.thing(host.port)
        job = await (driven.delete(thing, images(1)) if method == DELETE else driven.make(thing))
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "LOST")]
        assert len(host.asked(method)) == 1
        assert host.asked(FORBID_OR_GET) == []
        assert len(driven.leftovers(job.id)) == 1
        assert set(host.effects.values()) == {1}


@pytest.mark.parametrize("code", [99, 1100, -32603])
async def test_the_question_of_recovery_is_asked_until_it_is_answered(tmp_path: Path, code: int) -> None:
    """A host that finds its tasks again does not know them yet; that is no verdict."""
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def lost(call: Call) -> Any:
            del host.on[DELETE]
            await no_answer_to_done(host, call)

        async def recovering(call: Call) -> Any:
            if len(host.asked(FORBID_OR_GET)) <= 3:
                raise RpcError(code, "recovering")
            return await host.honest(call)

        host.on = {DELETE: lost, FORBID_OR_GET: recovering}
        job = await driven.delete(await driven.thing(host.port), images(1))
        await job.result(20)
        assert len(host.asked(FORBID_OR_GET)) == 4
        assert len(host.asked(DELETE)) == 1


async def test_the_question_of_recovery_is_not_asked_for_ever(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened(SHORT) as driven:

        async def lost(call: Call) -> Any:
            del host.on[DELETE]
            host.cut()

        async def recovering(call: Call) -> Any:
            raise RpcError(99, "recovering")

        host.on = {DELETE: lost, FORBID_OR_GET: recovering}
        job = await driven.delete(await driven.thing(host.port), images(1))
        failure = await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        [(_, where, _, reason, _)] = driven.leftovers(job.id)
        assert where == str(driven.node)
        assert reason.endswith("recovering")
        assert failure.causes[0].leftover
        assert len(host.asked(FORBID_OR_GET)) > 3


@pytest.mark.parametrize("code", [100, 401401, 4701, 4703, -32601])
async def test_a_question_of_recovery_that_is_refused_leaves_the_fate_unknown(tmp_path: Path, code: int) -> None:
    """And concerns no other task of the host."""
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def lost(call: Call) -> Any:
            del host.on[DELETE]
            host.cut()

        async def refusing(call: Call) -> Any:
            raise RpcError(code, "no")

        host.on = {DELETE: lost, FORBID_OR_GET: refusing}
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        await failure_of(job)
        assert driven.tasks(job.id, "state, outcome, code") == [("Cleared", "UNKNOWN", code)]
        assert [row[2] for row in driven.leftovers(job.id)] == [f'["{thing}"]']
        assert len(host.asked(DELETE)) == 1
        node, other = driven.node, await driven.thing(host.port)
        driven.node = node
        await (await driven.delete(other, images(1))).result(20)


@pytest.mark.parametrize("garbage", [None, 7, "finished", [], {}, {"taskState": "exploded"}], ids=repr)
async def test_an_answer_to_the_question_of_recovery_that_makes_no_sense_is_none(tmp_path: Path, garbage: Any) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def lost(call: Call) -> Any:
            del host.on[DELETE]
            await no_answer_to_done(host, call)

        async def odd(call: Call) -> Any:
            if len(host.asked(FORBID_OR_GET)) <= 2:
                return garbage
            return await host.honest(call)

        host.on = {DELETE: lost, FORBID_OR_GET: odd}
        job = await driven.delete(await driven.thing(host.port), images(1))
        await job.result(20)
        assert len(host.asked(FORBID_OR_GET)) == 3
        assert len(host.asked(DELETE)) == 1


@pytest.mark.parametrize("code", [405, 4701, 4702, 4703, 4704, 4708])
@pytest.mark.parametrize("method", [DELETE, MAKE])
async def test_an_id_that_is_known_or_closed_may_have_run(tmp_path: Path, code: int, method: str) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def closed(call: Call) -> Any:
            raise RpcError(code, "not under this id")

        host.on[method] = closed
        thing = await driven.thing(host.port)
        job = await (driven.delete(thing, images(1)) if method == DELETE else driven.make(thing))
        await failure_of(job)
        assert driven.tasks(job.id, "state, outcome, code") == [("Cleared", "UNKNOWN", code)]
        [(_, where, refs, reason, _)] = driven.leftovers(job.id)
        assert (where, refs) == (str(driven.node), f'["{thing}"]')
        assert reason == f"{method} on {driven.node} may have run or still run: not under this id"


@pytest.mark.parametrize("code", [100, 256, 654, 851, -32601, -32602])
async def test_an_error_at_a_start_never_ran(tmp_path: Path, code: int) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def refusing(call: Call) -> Any:
            raise RpcError(code, "no")

        host.on = {DELETE: refusing, MAKE: refusing}
        job = await driven.delete(await driven.thing(host.port), images(1))
        failure = await failure_of(job)
        assert failure.message == f"{driven.node} refused Image.delete: no"
        assert driven.tasks(job.id, "state, outcome, code") == [("Cleared", "REFUSED", code)]
        assert driven.leftovers(job.id) == []
        made = await driven.make(await driven.thing(host.port))
        failure = await failure_of(made)
        assert failure.message == f"StorageDomain.create failed on {driven.node}: no"
        await eventually("ended", lambda: driven.tasks(made.id, "outcome, code") == [("FAILED", code)])
        assert driven.leftovers(made.id) == []


async def test_an_error_that_no_row_can_hold_is_made_to_fit(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def refusing(call: Call) -> Any:
            raise RpcError(1 << 90, "\ud800\x00" + "x" * 100_000)

        host.on[DELETE] = refusing
        job = await driven.delete(await driven.thing(host.port), images(1))
        await failure_of(job)
        [(outcome, code, message)] = driven.tasks(job.id, "outcome, code, message")
        assert (outcome, code, message[:8]) == ("REFUSED", 100, "\\ud800\\x")
        assert len(message) < 2000


async def test_an_answer_of_any_shape_is_kept(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def odd(call: Call) -> Any:
            await host.honest(call)
            return {"sizes": [1 << 80, None], "\ud800": "\x00"}

        host.on[MAKE] = odd
        job = await driven.make(await driven.thing(host.port))
        await job.result(20)
        assert driven.tasks(job.id, "outcome") == [("SUCCEEDED",)]


@pytest.mark.parametrize("code", [1100, 99])
async def test_not_now_is_tried_again(tmp_path: Path, code: int) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def full_at_first(call: Call) -> Any:
            if len(host.asked(DELETE)) <= 5:
                raise RpcError(code, "not now")
            return await host.honest(call)

        host.on[DELETE] = full_at_first
        job = await driven.delete(await driven.thing(host.port), images(1))
        await job.result(20)
        assert len(host.asked(DELETE)) == 6
        assert host.asked(FORBID_OR_GET) == []  # what was refused so did not run: there is nothing to ask
        assert len({params_bytes(frame) for frame in host.frames(DELETE)}) == 1


@pytest.mark.parametrize("code", [1100, 99])
async def test_not_now_is_not_tried_for_ever(tmp_path: Path, code: int) -> None:
    async with hosting() as host, Driven(tmp_path).opened(SHORT) as driven:

        async def full(call: Call) -> Any:
            raise RpcError(code, "not now")

        host.on[DELETE] = full
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        failure = await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "REFUSED")]
        assert "not now" in failure.message
        assert driven.leftovers(job.id) == []
        host.on.clear()
        await (await driven.delete(thing, images(1))).result(20)


async def test_starts_that_are_not_now_do_not_hold_up_others(tmp_path: Path) -> None:
    """More starts wait for their turn than calls may be under way at once: other calls go out meanwhile."""
    slow = Patience(poll_s_min=60.0, poll_s_max=60.0)
    async with hosting() as host, Driven(tmp_path).opened(slow) as driven:

        async def full(call: Call) -> Any:
            raise RpcError(1100, "full")

        host.on[DELETE] = full
        first, second = await driven.thing(host.port), await driven.thing(host.port)
        await driven.delete(first, images(3 * CALLS_MAX))
        await eventually("all were tried", lambda: len(host.asked(DELETE)) == 3 * CALLS_MAX)
        await (await driven.make(second)).result(20)
        assert len(host.came_at) == 1


@pytest.mark.hard_case(2, 3)
async def test_a_placeholder_is_committed_before_anything_is_sent(tmp_path: Path) -> None:
    """Rule 2, seen from the host: whoever is asked to begin finds the row that says so; and to forget, its end."""
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        found: list[tuple[Any, ...]] = []

        def row(call: Call) -> tuple[Any, ...]:
            sql = """SELECT t.state, t.outcome, t.incarnation, t.host_task_id IS NOT NULL, c.state, c.result,
                (SELECT count(*) FROM async_tasks AS all_of WHERE all_of.flow_id = t.flow_id),
                (SELECT count(*) FROM entity_locks AS held WHERE held.flow_id = t.flow_id)
                FROM async_tasks AS t JOIN command_entities AS c ON c.id = t.command_id WHERE t.id = ?"""
            with closing(sqlite3.connect(f"file:{driven.path}?mode=ro", uri=True)) as connection:
                [found] = connection.execute(sql, (UUID(call.params["taskID"]).bytes,)).fetchall()
            return (call.method, *found)

        async def looking(call: Call) -> Any:
            found.append(row(call))
            return await host.honest(call)

        host.on = {DELETE: looking, MAKE: looking, CLEAR: looking}
        job = await driven.delete(await driven.thing(host.port), images(1))
        await job.result(20)
        await driven.all_cleared()
        named = (DELETE, "Initializing", None, host.incarnation, 0, "EXECUTING", None, 1, 1)
        ended = (CLEAR, "Ended", "SUCCEEDED", host.incarnation, 1, "ENDED", "SUCCEEDED", 1, 0)
        assert found == [named, ended]
        found.clear()
        made = await driven.make(await driven.thing(host.port))
        await made.result(20)
        await driven.all_cleared()
        assert found == [(MAKE, *named[1:]), ended]
        found.clear()
        many = await driven.delete(await driven.thing(host.port), images(20))
        await many.result(20)
        await driven.all_cleared()
        starts = [each for each in found if each[0] == DELETE]
        assert starts == [(*named[:7], 20, 1)] * 20
        clears = [each[:5] for each in found if each[0] == CLEAR]
        assert clears == [ended[:5]] * 20


async def test_the_cost_of_starting_is_one_call_each(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(200))
        await job.result(20)
        await driven.all_cleared()
        methods = [call.method for call in host.calls if call.method != STATUSES]
        assert {name: methods.count(name) for name in methods} == {"Host.getCapabilities": 1, DELETE: 200, CLEAR: 200}
