"""One run: a coordinator, hosts, people and faults, all of one seed. Much goes wrong, then all must come right."""

from __future__ import annotations

import gc
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from uuid import UUID

from interlock import failpoints, ids
from interlock.coordinator.change_set import ChangeSet
from interlock.invariants import check_between, check_flow, pictures
from interlock.sim import database, faults, sites, workload
from interlock.sim.agents import SimHost
from interlock.sim.calls import CallWatch
from interlock.sim.engines import NAME, SimEngine
from interlock.sim.faults import Fault, Faults, Kind
from interlock.sim.happenings import Happenings
from interlock.sim.log_reader import LogReader
from interlock.sim.network import Network
from interlock.sim.process import Process
from interlock.sim.seeds import site_of, template_of
from interlock.sim.storage import Storage
from interlock.sim.timeline import Timeline
from interlock.sim.trace import Trace, told
from interlock.sim.witness import Witness, is_quiet

#: within what time faults happen; until when everything must have ended after the last; and how many events that may be
FAULTS_S, LIVENESS_S, EVENTS_MAX = 120.0, 1200.0, 400_000
#: between two looks whether everything is over, and two collections of what killed processes have left, in runs
LOOK_S, COLLECT_EVERY = 5.0, 8


@dataclass
class Run:
    """How a run ended: `problems` are what was found, `checked` how often each invariant was looked at."""

    seed: int
    faults: list[Fault]
    #: which of the faults that the seed plans these are
    chosen: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    fired: Counter[Kind] = field(default_factory=Counter)
    checked: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    trace: list[str] = field(default_factory=list)


class Universe:
    """Everything of one seed."""

    def __init__(self, seed: int, scratch: Path, plan: Sequence[Fault] | None = None, *, is_told: bool = False) -> None:
        self.timeline = timeline = Timeline(seed)
        self.trace = Trace(timeline)
        self._is_told = is_told
        self._site = site_of(seed)
        asks = workload.planned(timeline.chance("workload"), self._site, FAULTS_S)
        asked_s = [ask.at_s for ask in asks]
        usual = faults.planned(timeline.chance("faults"), FAULTS_S, sites.HOSTS, asked_s)
        planned = usual if plan is None else list(plan)
        self.faults = Faults(timeline, planned, self.trace.tell)
        chosen = [usual.index(fault) for fault in planned if fault in usual]
        self.run = Run(seed, planned, chosen, fired=self.faults.fired)
        self._file = scratch / "state.db"
        server = database.Server(timeline, self.faults, self._is_engine_acting)
        database.fresh(self._file, template_of(scratch, self._site), server)
        self._network = Network(timeline, self.faults)
        storages: dict[UUID, Storage] = {}
        self.witness = Witness(storages)
        self.run.checked = self.witness.checked
        calls = CallWatch(self.witness.mirror, self.witness.checked, self._problem)
        self.hosts = [
            SimHost(timeline, self._network, f"host{n}", sites.port_of(n), scratch, self.faults, calls, self._problem)
            for n in range(sites.HOSTS)
        ]
        storages.update({sites.host(n): each.storage for n, each in enumerate(self.hosts)})
        self.engine = SimEngine(timeline, self._network, self._file, self._site.catalog, self._committed, self._problem)
        self.people = workload.People(timeline, self.engine, asks, self.trace.tell)
        self._looking = database.looking(self._file)
        self.reader = LogReader(timeline, self._looking)
        self._happenings = Happenings(timeline, self.faults, self.engine, self.hosts, self.people, server, self.trace)
        for fault in planned:
            self._happenings.plan(fault)

    def live(self) -> Run:
        """Runs it to its end. Where the simulator itself raises, the run has failed, and its problem says where."""
        bytes_of = self.timeline.chance("ids").randbytes
        with failpoints.handled_by(self._happenings.at_failpoint), ids.drawn_from(self._now_ns, bytes_of):
            try:
                self._go_wrong()
                self._come_right()
                self._end()
                if not self.run.problems:
                    self._judge()
            except Exception as error:  # else nobody would know of which seed it was
                self._problem(f"the simulator itself raised {error!r}\n{traceback.format_exc()}")
                self._end()  # or what they hold would be in the way of the next run
            self._looking.close()
        self.run.digest, self.run.trace = self.trace.digest(), self.trace.lines
        self.run.counts["events"] = self.timeline.events
        return self.run

    def _go_wrong(self) -> None:
        for host in self.hosts:
            host.start()
        self.engine.start()
        self.reader.look()
        while not self.run.problems and self.timeline.step(FAULTS_S):
            pass
        self.faults.heal()
        self.trace.tell("world", "healed")

    def _come_right(self) -> None:
        self.people.look_after()
        until_s = self.timeline.now_s + LIVENESS_S
        while not self.run.problems and not (self.people.are_content and is_quiet(self.witness.mirror)):
            if self.timeline.now_s >= until_s or self.timeline.events > EVENTS_MAX:
                self.witness.checked[23] += 1
                self._problem(f"invariant 23: not over {LIVENESS_S:g} s after the last fault")
            pause_s = self.timeline.now_s + LOOK_S
            while not self.run.problems and self.timeline.step(pause_s):
                pass
        self.witness.checked[23] += 1

    def _end(self) -> None:
        self._running = {
            sites.host(n): [id for id, task in each.agent.table.ledger.tasks.items() if not task.state.is_done]
            for n, each in enumerate(self.hosts)
            if each.agent is not None
        }
        for process in (self.engine.process, *(host.process for host in self.hosts)):
            if process is not None:
                process.kill()

    def _judge(self) -> None:
        for problem in self.witness.at_the_end(self._running):
            self._problem(f"invariant {problem}")
        with self._looking.reading() as connection:
            stored = list(pictures(connection))
            for each in chain(chain.from_iterable(map(check_flow, stored)), check_between(connection)):
                self._problem(f"invariant {each.number}: {each.message}")
            storages, tasks = [host.storage for host in self.hosts], list(self.witness.mirror.tasks.values())
            for problem in chain(
                self.people.forgotten(connection),
                self.reader.missed(connection),
                self._site.untrue(connection, storages, tasks),
                self.witness.mirror.differs(stored),
            ):
                self._problem(f"invariant {problem}")
        self.witness.checked.update((1, 18, 21, 24))
        self.faults.fired[Kind.PHASE_RAISES] += self.witness.raised()
        self.run.counts["jobs"] = sum(1 for _ in self.witness.mirror.pictures())

    def _problem(self, words: str) -> None:
        self.run.problems.append(words)
        self.trace.tell("checker", words)

    def _is_engine_acting(self) -> bool:
        acting = self.timeline.acting
        return isinstance(acting, Process) and acting.name == NAME

    def _now_ns(self) -> int:
        acting = self.timeline.acting
        return (acting if isinstance(acting, Process) else self.engine).clock.now_us() * 1000

    def _committed(self, sets: Sequence[ChangeSet]) -> None:
        self.run.counts["commits"] += 1
        self.trace.tell(NAME, f"commit of {sum(len(each.changes) for each in sets)} rows")
        if self._is_told:
            for line in told(sets):
                self.trace.tell("row", line)
        for problem in self.witness.saw(sets):
            self._problem(f"invariant {problem}")


def run(seed: int, scratch: Path, plan: Sequence[Fault] | None = None, *, is_told: bool = False) -> Run:
    """Runs one seed; with other faults where they are given; with all rows in its trace where `is_told`."""
    ran = Universe(seed, scratch, plan, is_told=is_told).live()
    if seed % COLLECT_EVERY == 0:
        gc.collect()
        gc.freeze()  # what threads hold that were left in the middle of something stays: it is not looked through again
    return ran
