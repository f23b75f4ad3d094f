"""Simulated hosts: the real agent over a forgetful disk, started again whenever it has died."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from interlock.agent.journal.ledger import Ledger
from interlock.agent.serving.agent import Agent, Setting, opened
from interlock.agent.serving.door import LIMITS
from interlock.agent.settings.config import AgentConfig
from interlock.agent.tasks.intake import Bounds
from interlock.sim.calls import CallWatch, starts_something
from interlock.sim.faults import AT_EFFECT, AT_ONCE, Faults, Kind
from interlock.sim.forgetful_files import Contents, Disk, ForgetfulFiles
from interlock.sim.network import Network
from interlock.sim.process import Process, SimClock
from interlock.sim.storage import BLIND, Storage
from interlock.sim.timeline import Timeline
from interlock.sim.work import Programs
from interlock.verbs import TASK_ID_PARAM, Code, HostGetAllTasksStatuses, TaskState, TaskStatus
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call, Server

#: how long an agent that has died is gone, at most
GONE_S_MAX = 20.0
#: how often a call comes that comes again and again, and after what pauses at most
AGAIN, AGAIN_S_MAX = 20, 4.0


class SimHost:
    """One host: its disks, and the agent on it as long as it lives. `failed` is told of what should not be."""

    def __init__(
        self,
        timeline: Timeline,
        network: Network,
        name: str,
        port: int,
        scratch: Path,
        faults: Faults,
        calls: CallWatch,
        failed: Callable[[str], None],
    ) -> None:
        self.name = name
        self.storage = Storage(name)
        self._programs = Programs(timeline, self.storage).all()
        self.clock = SimClock(timeline)
        self.process: Process | None = None
        #: the agent that answers; None while there is none
        self.agent: Agent | None = None
        self._port = port
        self._timeline = timeline
        self._network = network
        self._scratch = scratch
        self._faults = faults
        self._calls = calls
        self._failed = failed
        self._chance = timeline.chance(f"host {name}")
        self._files = ForgetfulFiles(keeps_history=False)
        #: called when a start was taken
        self.has_taken: Callable[[SimHost, Call], None] = lambda host, call: None
        self.storage.after_effect = self._effect_made
        self.storage.journal = lambda: None if self.agent is None else self.agent.table.incarnation
        self.storage.tasks = lambda: () if self.agent is None else self.agent.table.ledger.tasks

    def start(self) -> None:
        """Starts an agent on what the one before has left."""
        self.process = Process(self._timeline, self._network, self.name, self.clock, self._failed)
        self.process.at_death.append(self._died)
        self.process.start(self._main)

    def _effect_made(self, step: str) -> None:
        fault = self._faults.hit("effect", *AT_EFFECT)
        if step in BLIND:
            fault = self._faults.hit("effect to be made once", *AT_ONCE) or fault
        if fault is not None and self.process is not None:
            self.process.die()

    def _died(self) -> None:
        self.agent = None
        self._files = ForgetfulFiles.after_crash(self._left_by_crash(), keeps_history=False)
        self._timeline.after(self._chance.uniform(0.01, GONE_S_MAX), None, self.start)

    def _left_by_crash(self) -> Contents:
        """What was fsynced for sure; of the rest all, nothing, or a torn part."""
        view = self._chance.choice((Disk.least, Disk.most, Disk.torn))
        disk = self._files.disk()
        if view is Disk.torn and disk.torn() != disk.most() and not self._faults.is_over:
            self._faults.happened(Kind.JOURNAL_TORN, self.name)
        return view(disk)

    def lose_journal(self) -> None:
        """The host is installed anew: the agent dies, and nothing that it noted is there."""
        if self.process is not None and not self.process.is_dead:
            self.process.kill()
        self._files = ForgetfulFiles(keeps_history=False)

    def _die(self, reason: str) -> NoReturn:
        assert self.process is not None
        self.process.die()
        raise AssertionError(reason)

    async def _main(self) -> None:
        config = AgentConfig(
            name=self.name,
            state_dir=self._scratch / self.name,
            storage_roots=(self._scratch / "images",),
            listen_port=self._port,
        )
        setting = Setting(self._files, self._programs, Bounds(), Ledger, 60.0, self._die)
        server: Server

        def publish(status: TaskStatus) -> None:
            server.publish(f"|storage|task_status|{status.taskID}", status.to_wire())

        async with opened(config, publish=publish, setting=setting) as agent:
            server = Server(lambda call: self._handle(agent, call), tls=None, limits=LIMITS)
            await server.start("127.0.0.1", self._port)
            agent.recover()
            self.agent = agent
            await asyncio.Event().wait()

    async def _handle(self, agent: Agent, call: Call) -> Any:  # Any: a JSON value
        self._calls.arrived(self.name, call, agent.table.incarnation)
        answer = await self._answer(agent, call)
        if starts_something(call.method):
            self.has_taken(self, call)
        if call.method == HostGetAllTasksStatuses.method and answer:
            return self._contradicted(answer)
        return answer

    async def _answer(self, agent: Agent, call: Call) -> Any:  # Any: a JSON value
        before = self._calls.before(self.name, call)
        answer = await agent.handle(call)
        if TASK_ID_PARAM in call.params:
            self.storage.taken.add(call.params[TASK_ID_PARAM])
        self._calls.accepted(self.name, call, before)
        return answer

    def hear_again(self, call: Call) -> None:
        """What was taken comes again and again for a while, as long as the journal is the same."""
        assert self.agent is not None  # it has just answered
        journal, after_s = self.agent.table.incarnation, 0.0
        for _ in range(AGAIN):
            after_s += self._chance.uniform(0, AGAIN_S_MAX)
            self._timeline.after(after_s, None, lambda: self._comes_again(call, journal))

    def _comes_again(self, call: Call, journal: str) -> None:
        agent, process = self.agent, self.process
        if agent is None or process is None or agent.table.incarnation != journal or self._faults.is_over:
            return

        async def come() -> None:
            with suppress(RpcError):  # as a rule it is refused
                await self._answer(agent, call)

        process.begin(come, f"a {call.method} that came again was answered")

    def _contradicted(self, statuses: dict[str, Any]) -> dict[str, Any]:
        """Now and then a host says that a task which it has ended still runs, does not tell of one that it has, or has
        another code than result."""
        ended = [id for id, status in statuses.items() if status["taskState"] == TaskState.FINISHED]
        if ended and self._faults.hit("statuses of ends", Kind.SAYS_OTHER_CODE) is not None:
            codes = {id: Code.GENERAL if statuses[id]["code"] == 0 else 0 for id in ended}
            return {id: {**status, "code": codes.get(id, status["code"])} for id, status in statuses.items()}
        kind = self._faults.hit("statuses", Kind.SAYS_RUNNING, Kind.LEAVES_OUT)
        first, *rest = sorted(statuses)
        if kind is Kind.LEAVES_OUT:
            return {id: statuses[id] for id in rest}
        if kind is Kind.SAYS_RUNNING:
            return {**statuses, first: {**statuses[first], "taskState": "running", "taskResult": "", "code": 0}}
        return statuses
