"""Brings faults about in one universe: at failpoints, and when their time has come."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.sim.agents import SimHost
from interlock.sim.calls import changes_something, starts_something
from interlock.sim.database import Server
from interlock.sim.engines import NAME, SimEngine
from interlock.sim.faults import AT_RECOVERY, AT_SENDING, AT_TAKING, Fault, Faults, Kind, database_error
from interlock.sim.network import Fate
from interlock.sim.process import Process
from interlock.sim.timeline import Timeline
from interlock.sim.trace import Trace
from interlock.sim.workload import People
from interlock.wire.server import Call

_HOUR_US = 3_600_000_000
#: how long it takes to send a call
SENT_S = 0.001
#: after how long a host has lost its journal that is installed anew while the coordinator is gone, at most
REINSTALLED_S_MAX = 8.0
#: how often everything is cancelled while a start is adrift, and after how long at most
CANCELLED_SHARE, CANCELLED_S_MAX = 0.5, 0.5
#: for how long a host is slow whose former owner does not give up, and how often its agent is killed within that time
FORMER_S, AGENT_KILLED_SHARE = 40.0, 0.5
#: commits of a coordinator that count as its recovery
_RECOVERY_COMMITS = 6


class Happenings:
    """Knows everybody, and what is planned for them."""

    def __init__(
        self,
        timeline: Timeline,
        faults: Faults,
        engine: SimEngine,
        hosts: Sequence[SimHost],
        people: People,
        server: Server,
        trace: Trace,
    ) -> None:
        self._timeline = timeline
        self._faults = faults
        self._engine = engine
        self._hosts = hosts
        for host in hosts:
            host.has_taken = self._at_start
        self._people = people
        self._server = server
        self._trace = trace
        self._commits_of_start = (0, 0)

    def plan(self, fault: Fault) -> None:
        """A fault of a time: it comes at that time."""
        if not fault.nth:
            self._timeline.at(fault.at_s, None, lambda: self._bring_about(fault))

    def at_failpoint(self, name: str, side: str) -> None:
        """A process is just before or after an effect: it may die there, or be told of an error."""
        process = self._timeline.acting
        if not isinstance(process, Process) or process.is_dead:
            return
        kind = self._due(process, name, side)
        if kind in (Kind.COMMIT_FAILS, Kind.COMMIT_UNKNOWN):
            raise database_error(f"simulated {side} {name}")
        if kind in (Kind.CALL_LATE, Kind.CALL_OUTLIVES, Kind.START_ADRIFT):
            self._send_astray(process, kind)
            return
        if kind is Kind.REINSTALLED:
            chance = self._timeline.chance("reinstalled")
            self._timeline.after(chance.uniform(0, REINSTALLED_S_MAX), None, chance.choice(self._hosts).lose_journal)
        if kind is not None:
            process.die()

    def _send_astray(self, process: Process, kind: Kind) -> None:
        """The call that a process is about to send arrives late, if at all; and somebody dies or cancels meanwhile."""
        chance, after = self._timeline.chance("astray"), self._timeline.after
        self._faults.meet_next_of(process.name, Fate.LATE if kind is Kind.CALL_LATE else Fate.ADRIFT)
        if kind is Kind.CALL_OUTLIVES:
            after(SENT_S, None, process.kill)
        elif kind is Kind.START_ADRIFT and chance.random() < CANCELLED_SHARE:
            after(chance.uniform(0, CANCELLED_S_MAX), None, self._people.cancel_all)

    def _due(self, process: Process, name: str, side: str) -> Kind | None:
        hit, is_before = self._faults.hit, side == "before"
        if process.name != NAME:
            kinds = (Kind.AGENT_KILLED_BEFORE_WRITE, Kind.AGENT_KILLED_AFTER_WRITE)
            return hit(f"{side} write of {process.name}", kinds[not is_before])
        if name.startswith("host:"):
            self._trace.tell(NAME, f"{side} {name}")
            if not changes_something(name.removeprefix("host:")):
                return None
            if is_before:
                if starts_something(name.removeprefix("host:")) and hit("before start", *AT_SENDING) is not None:
                    return Kind.START_ADRIFT
                return hit("before call", Kind.KILLED_BEFORE_CALL, Kind.CALL_LATE, Kind.CALL_OUTLIVES)
            return hit("after call", Kind.KILLED_AFTER_CALL, Kind.REINSTALLED)
        if is_before:
            return self._in_recovery() or hit("before commit", Kind.KILLED_BEFORE_COMMIT, Kind.COMMIT_FAILS)
        return hit("after commit", Kind.KILLED_AFTER_COMMIT, Kind.COMMIT_UNKNOWN)

    def _at_start(self, host: SimHost, call: Call) -> None:
        """A host has taken a start: it may come again. Where that is a former owner's, it finds the task at work."""
        kind = self._faults.hit("start", *AT_TAKING)
        if kind is None:
            return
        host.hear_again(call)
        if kind is Kind.FORMER_OWNER:
            chance, after = self._timeline.chance("former owner"), self._timeline.after
            host.storage.slow_until_s = self._timeline.now_s + FORMER_S
            after(0, None, lambda: self._kill(self._engine.process))
            if chance.random() < AGENT_KILLED_SHARE:
                after(chance.uniform(0, FORMER_S), None, lambda: self._kill(host.process))

    def _kill(self, process: Process | None) -> None:
        if process is not None:
            process.kill()

    def _in_recovery(self) -> Kind | None:
        start, commits = self._commits_of_start
        commits = commits + 1 if start == self._engine.starts else 1
        self._commits_of_start = (self._engine.starts, commits)
        is_recovery = self._engine.starts > 1 and commits <= _RECOVERY_COMMITS
        return self._faults.hit("commit of a recovery", *AT_RECOVERY) if is_recovery else None

    def _bring_about(self, fault: Fault) -> None:
        host = self._hosts[fault.host]
        if self._to_engine(fault) or self._to_host(fault, host) or self._to_network(fault, host):
            self._faults.happened(fault.kind, f"{host.name} for {fault.for_s:g} s")

    def _to_engine(self, fault: Fault) -> bool:
        engine, clock, after = self._engine, self._engine.clock, self._timeline.after
        process = engine.process
        if process is None or process.is_dead:
            return False
        match fault.kind:
            case Kind.KILLED:
                process.kill()
            case Kind.STOPPED:
                engine.stop()
            case Kind.STANDS_STILL:
                process.stand_still(fault.for_s)
            case Kind.CLOCK_JUMPS:
                clock.jump(_HOUR_US if fault.for_s > 10 else -_HOUR_US)
            case Kind.CLOCK_FREEZES:
                clock.go(0.0)
                after(fault.for_s, None, lambda: clock.go(1.0))
            case Kind.CLOCK_DRIFTS:
                clock.go(1.1)
            case Kind.DISK_FULL:
                engine.limit_disk(is_full=True)
                after(fault.for_s, None, lambda: engine.limit_disk(is_full=False))
            case Kind.DATABASE_DOWN:
                self._server.go_down(fault.for_s)
            case _:
                return False
        return True

    def _to_host(self, fault: Fault, host: SimHost) -> bool:
        process = host.process
        if process is None or process.is_dead:
            return False
        match fault.kind:
            case Kind.AGENT_KILLED:
                process.kill()
            case Kind.AGENT_STANDS_STILL:
                process.stand_still(fault.for_s)
            case Kind.AGENT_CLOCK_JUMPS:
                host.clock.jump(_HOUR_US if fault.for_s > 10 else -_HOUR_US)
            case Kind.JOURNAL_LOST:
                host.lose_journal()
            case Kind.HOST_SLOW:
                host.storage.slow_until_s = self._timeline.now_s + fault.for_s
            case _:
                return False
        return True

    def _to_network(self, fault: Fault, host: SimHost) -> bool:
        there, back = (NAME, host.name), (host.name, NAME)
        match fault.kind:
            case Kind.ONE_WAY:
                self._faults.block(*(there if fault.for_s > 10 else back), fault.for_s)
            case Kind.PARTITION:
                self._faults.block(*there, fault.for_s)
                self._faults.block(*back, fault.for_s)
            case Kind.FLAPPING:
                for number in range(5):
                    self._timeline.after(4.0 * number, None, lambda: self._faults.block(*there, 2.0))
            case _:
                return False
        return True
