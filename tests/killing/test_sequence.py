"""A sequence of five parts on two hosts, whose coordinator is killed with SIGKILL, or one of whose agents is.

Forward, and back after the last part failed, with and without a part of no return. In every case the completed parts
are undone once, latest first, and both hosts have done exactly what the rows say, each task once.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Scratch
from tests.killing import agent_loop, loop
from tests.killing.relay import LEGS
from tests.killing.relay_runs import Relays, TwoHosts, two_hosts

NO_RETURN = 3
#: accepted; then each task answered, ended and cleared. As many commits are made in every run of that kind
COMMITS = {
    "forward": 1 + 3 * LEGS,
    "back": 1 + 3 * (LEGS + LEGS - 1),
    "halfway": 1 + 3 * (LEGS + LEGS - 1 - NO_RETURN),
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    with two_hosts(tmp_path_factory.mktemp("relay")) as hosts:
        yield hosts


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TwoHosts]:
    """Hosts whose journals have room for all runs of a long test: what is accepted is read from them, and compacting
    them would lose it."""
    with two_hosts(tmp_path) as hosts:
        yield hosts


def relays(hosts: TwoHosts, kind: str, test: str) -> Relays:
    """Relays of one of the three kinds, named after a test."""
    no_return = NO_RETURN if kind == "halfway" else 0
    return Relays(hosts, f"{kind}-{test}", fails=kind != "forward", no_return=no_return)


def test_a_sequence_goes_on_across_hosts_after_a_kill(hosts: TwoHosts) -> None:
    """In the middle: a part sent whose answer is lost, a part ended whose end is not written, the one after it."""
    orders = ["host:Volume.copy:1:after", "commit:9:before", "host:Volume.copy:2:before"]
    loop.kill_at(hosts.first, relays(hosts, "forward", "few"), orders)


@pytest.mark.long
def test_what_was_completed_on_both_hosts_is_undone_once_in_reverse_after_a_kill(hosts: TwoHosts) -> None:
    orders = ["commit:15:after", "host:Image.delete:2:after", "host:Image.delete:3:before", "commit:23:before"]
    loop.kill_at(hosts.first, relays(hosts, "back", "few"), orders)


@pytest.mark.long
def test_nothing_before_a_part_of_no_return_is_undone_after_a_kill(hosts: TwoHosts) -> None:
    loop.kill_at(hosts.first, relays(hosts, "halfway", "few"), ["commit:9:after", "host:Image.delete:1:after"])


def test_an_undoing_is_done_once_though_two_coordinators_die_in_it(hosts: TwoHosts) -> None:
    orders = ["host:Image.delete:2:after", "commit:22:before"]
    loop.kill_at(hosts.first, relays(hosts, "back", "twice"), orders, again="commit:2:after")


@pytest.mark.parametrize(
    ("no_return", "undone"), [pytest.param(0, [3, 2, 1], marks=pytest.mark.long), (4, [])], ids=["undone", "kept"]
)
def test_a_part_of_unknown_fate_stays_as_a_leftover_and_may_have_been_of_no_return(
    tmp_path: Path, no_return: int, undone: list[int]
) -> None:
    """The fourth leg's host cannot be asked what became of it: it is never undone, nor is the leg after it begun."""
    with two_hosts(tmp_path, stock=True) as hosts:
        operation = Relays(hosts, "lost", no_return=no_return)
        hosts.first.arm("host:Volume.copy:2:after")
        job_id = loop.submitted(hosts.first, "relay.run", **operation.parameters("one"))
        assert hosts.first.server_died_of_sigkill()
        hosts.first.disarm()
        hosts.first.start_server(*loop.OPTIONS, environment=hosts.first.failpoints())
        job = hosts.first.ended(job_id)
        assert job["result"] == "FAILED"
        loop.settled(hosts.first)
        [leftover] = job["leftovers"]
        [relay] = bodies(hosts, "relay")
        legs = {leg["number"]: leg for leg in bodies(hosts, "leg")}
        assert relay["undone"] == undone
        assert sorted(legs) == ([4] if undone else [1, 2, 3, 4])
        assert leftover["refs"] == [f"leg:{legs[4]['id']}"]
        left = [path.partition("/images/")[2] for paths in hosts.images().values() for path in paths]
        assert {path for path in left if "/" not in path} == {leg["image_id"] for leg in legs.values()}
        loop.nothing_open(hosts.first, "lost")


def bodies(hosts: TwoHosts, type: str) -> list[dict[str, Any]]:
    """The fields of all entities of a type."""
    return [json.loads(body) for (body,) in hosts.first.rows("SELECT body_json FROM entities WHERE type = ?", type)]


@pytest.mark.long
@pytest.mark.parametrize("scratch", ["postgresql"], indirect=True)
def test_what_was_completed_is_undone_once_in_reverse_on_postgresql_too(scratch: Scratch, tmp_path: Path) -> None:
    with two_hosts(tmp_path, database=scratch.url) as hosts:
        orders = ["commit:9:after", "host:Image.delete:2:after", "commit:23:before"]
        loop.kill_at(hosts.first, relays(hosts, "back", "postgresql"), orders)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("agent_spawn:1:after", marks=pytest.mark.long),
        pytest.param("agent_rename:3:before", marks=pytest.mark.long),
        "agent_remove:5:after",
    ],
)
def test_a_sequence_ends_truly_though_the_agent_of_one_host_is_killed(hosts: TwoHosts, order: str) -> None:
    """While it copies, and while it removes: the copy goes on, and each removal is one."""
    loop.kill_agent_at(hosts.first, hosts.second, relays(hosts, "back", "agent"), [order])


def recorded(hosts: TwoHosts, operation: Relays, kind: str) -> list[tuple[str, int]]:
    """The hits that every run of that kind has; how often progress is written depends on timing."""
    result = "SUCCEEDED" if kind == "forward" else "FAILED"
    hits = loop.recorded(hosts.first, operation, result=result)
    commits = [hit for hit in hits if hit[0] == "commit"]
    assert len(commits) >= COMMITS[kind]
    return [hit for hit in hits if hit[0] not in loop.READING and hit not in commits[COMMITS[kind] :]]


@pytest.mark.long
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("kind", COMMITS)
def test_a_sequence_survives_sigkill_at_every_commit_and_host_call(fresh: TwoHosts, kind: str, side: str) -> None:
    operation = relays(fresh, kind, side)
    orders = [f"{name}:{number}:{side}" for name, number in recorded(fresh, operation, kind)]
    loop.kill_at(fresh.first, operation, orders)


@pytest.mark.long
def test_an_undoing_survives_two_kills_wherever_the_first_one_is(fresh: TwoHosts) -> None:
    operation = relays(fresh, "back", "all-twice")
    hits = recorded(fresh, operation, "back")
    undoing = hits[hits.index(("host:Image.delete", 1)) : hits.index(("host:Image.delete", LEGS - 1))]
    loop.kill_at(fresh.first, operation, loop.both_sides(undoing), again="commit:2:after")


@pytest.mark.long
def test_a_sequence_survives_sigkill_at_every_effect_of_one_hosts_agent(fresh: TwoHosts) -> None:
    operation, agent = Relays(fresh, "all-agent", fails=True, interrupted=4), fresh.second
    agent.arm("record:0:before")
    loop.recorded(fresh.first, operation, result="FAILED")
    hits = [hit for hit in agent.hits() if hit[0] != agent_loop.JOURNAL]  # the agent's own kill loops have those
    loop.kill_agent_at(fresh.first, agent, operation, loop.both_sides(hits))
