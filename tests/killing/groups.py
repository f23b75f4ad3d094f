"""All groups of kills of the matrix: flows of the catalog, a sequence, steered jobs, the lives of processes, agents."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from interlock.testing.site import NotReady, Site
from tests import databases
from tests.killing import agent_loop, loop, test_control, test_waits
from tests.killing.agent_case import Case
from tests.killing.flows import COPY_RATE, FLOWS, Flow, add_what_is_there
from tests.killing.matrix import Matrix, Tally, Wanted
from tests.killing.relay_runs import Relays, two_hosts
from tests.killing.site_flows import SiteFlow
from tests.killing.test_agent_cases import CASES
from tests.killing.test_sequence import COMMITS, NO_RETURN

#: runs in a folder of its own
Group = Callable[[Path, Wanted], Tally]
#: on what else than a file and a host with our extension
VARIANTS = ("stock", "postgresql")
#: what happens between commits is the same on both databases
COMMITS_ONLY = "^commit"
#: a stock host begins nothing again after it was killed
COORDINATOR_ONLY = "^(commit|host)"


def groups(variants: Sequence[str] = ()) -> Mapping[str, Group]:
    """Every group by its title; those of the variants are further ones."""
    found: dict[str, Group] = {flow.title: partial(flow_killed, flow, "") for flow in FLOWS}
    for variant in variants:
        found |= {f"{flow.title} ({variant})": partial(flow_killed, flow, variant) for flow in FLOWS}
    found |= {f"a sequence on two hosts, {kind}": partial(sequence_killed, kind) for kind in COMMITS}
    for dialect in databases.DIALECTS if "postgresql" in variants else databases.DIALECTS[:1]:
        words = "" if dialect == "sqlite" else f" ({dialect})"
        for scenario in test_control.SCENARIOS:
            killed: Callable[[Site], int] = partial(test_control.killed_at_each, scenario=scenario)
            title = f"a job is {scenario.__name__.lower()}{words}"
            found[title] = partial(steering_killed, test_control.CATALOG_NAME, killed, dialect)
        waits = {"a job waits": test_waits.killed_while_waiting, "a call of three jobs": test_waits.killed_in_a_call}
        for title, waiting in waits.items():
            found[f"{title}{words}"] = partial(steering_killed, test_waits.CATALOG_NAME, waiting, dialect)
    found["a coordinator begins, an agent begins, a coordinator ends"] = lives_killed
    found |= {f"agent: {case.name}": partial(agent_killed, case) for case in CASES}
    return found


def flow_killed(flow: Flow, variant: str, folder: Path, wanted: Wanted) -> Tally:
    """A flow of the virtualization catalog, killed wherever it comes by."""
    rate = COPY_RATE if flow.is_cancelled else None
    orders = {"": "", "stock": COORDINATOR_ONLY, "postgresql": COMMITS_ONLY}[variant]

    @contextmanager
    def opened(folder: Path) -> Iterator[tuple[Site, SiteFlow]]:
        with (
            _database("postgresql" if variant == "postgresql" else "sqlite", folder) as database,
            Site(folder, forked=True, stock=variant == "stock", database=database, copy_rate_bytes_per_s=rate) as site,
        ):
            loop.start_server(site)
            site.start_agent(site.failpoints())
            add_what_is_there(site)
            yield site, SiteFlow(site, flow)

    return Matrix(folder, opened, wanted.within(orders)).run(result=flow.result)


@contextmanager
def _database(dialect: str, folder: Path) -> Iterator[str | None]:
    """The URL for the coordinator; None: it has a file."""
    if dialect == "sqlite":
        yield None
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with databases.scratch(dialect, folder) as scratch:
            yield scratch.url


def sequence_killed(kind: str, folder: Path, wanted: Wanted) -> Tally:
    """A sequence of five parts on two hosts: forward, back, and back to a part of no return."""

    @contextmanager
    def opened(folder: Path) -> Iterator[tuple[Site, Relays]]:
        with two_hosts(folder) as hosts:
            fails, no_return = kind != "forward", NO_RETURN if kind == "halfway" else 0
            yield hosts.first, Relays(hosts, kind, fails=fails, no_return=no_return)

    return Matrix(folder, opened, wanted).run(result="SUCCEEDED" if kind == "forward" else "FAILED")


def steering_killed(catalog: str, killed: Callable[[Site], int], dialect: str, folder: Path, wanted: Wanted) -> Tally:
    """Jobs that people steer, killed at every commit, whoever asked for it."""
    tally = Tally()
    with _database(dialect, folder) as database, Site(folder, forked=True, catalog=catalog, database=database) as site:
        loop.start_server(site)
        try:
            tally.killed = killed(site)
        except (AssertionError, NotReady) as problem:
            tally.problems.append(str(problem))
    return tally


def agent_killed(case: Case, folder: Path, wanted: Wanted) -> Tally:
    """A verb of the agent, killed at every journal write and every effect."""
    folder.mkdir(parents=True)
    tried = asyncio.run(agent_loop.tried_everywhere(case, folder))
    return Tally(tried.killed - len(tried.problems), tried.amiss(), tried.not_reached)


def lives_killed(folder: Path, wanted: Wanted) -> Tally:
    """Whoever begins or ends for the first time is killed at each of its steps; the next one finds nothing amiss."""
    tally = Tally()
    for order in loop.both_sides([("commit_schema", 1), ("commit_register", 1), ("commit_goodbye", 1)]):
        _lived(folder / order.replace(":", "_"), order, tally, _coordinator_killed)
    with Site(folder / "recorded", forked=True) as site:
        loop.start_server(site)
        site.arm("record:0:before")
        site.start_agent(site.failpoints())
        hits = site.hits()
    for order in loop.both_sides(hits):
        _lived(folder / order.replace(":", "_"), order, tally, _agent_killed)
    return tally


def _lived(folder: Path, order: str, tally: Tally, killed: Callable[[Site, str], None]) -> None:
    with Site(folder, forked=True) as site:
        site.failpoints()
        try:
            killed(site, order)
            loop.add_storage(site)
            loop.nothing_open(site, order)
        except (AssertionError, NotReady) as problem:
            tally.problems.append(f"{order}: {problem}")
        else:
            tally.killed += 1


def _coordinator_killed(site: Site, order: str) -> None:
    site.arm(order)
    with suppress(NotReady):
        loop.start_server(site)
        assert site.server is not None
        site.server.send_signal(signal.SIGTERM)
    assert site.server_died_of_sigkill(), f"{order} was not reached"
    site.disarm()
    loop.start_server(site)
    site.start_agent()


def _agent_killed(site: Site, order: str) -> None:
    loop.start_server(site)
    site.arm(order)
    with suppress(NotReady):
        site.start_agent(site.failpoints())
    assert site.agent is not None
    assert site.agent.wait(30) == -signal.SIGKILL, f"{order} was not reached"
    site.disarm()
    site.start_agent()
