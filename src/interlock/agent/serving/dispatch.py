"""From a call that came over the wire to its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from interlock import verbs
from interlock.agent.records import StepFailed
from interlock.agent.settings.config import AgentConfig
from interlock.agent.task_machine import Inner
from interlock.agent.tasks.intake import Intake, Sender
from interlock.agent.tasks.refusals import Refused
from interlock.agent.tasks.steps import Host
from interlock.agent.tasks.table import TaskTable
from interlock.agent.verbs.host_stats import AgentFigures, host_stats
from interlock.agent.verbs.image_volumes import image_volumes
from interlock.agent.verbs.spm import spm_status
from interlock.agent.verbs.volume_info import volume_info
from interlock.verbs import Code, InvalidParams, UnknownVerb, Verb
from interlock.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError
from interlock.wire.server import Call

_CORRELATION_CHARS_MAX = 256


class Dispatcher:
    """Answers calls; every answer is durable before it leaves."""

    def __init__(self, config: AgentConfig, intake: Intake, host: Host, table: TaskTable) -> None:
        self._config = config
        self._intake = intake
        self._host = host
        self._table = table
        self._began_s = time.monotonic()

    async def handle(self, call: Call) -> Any:  # Any: a JSON value
        """The answer. Raises `RpcError`."""
        try:
            verb, task_id = self._parse(call.method, call.params)
            sender = self._sender(call.headers)
            await self._intake.hear_of(sender)
            return await self._answer(verb, task_id, sender)
        except UnknownVerb as error:
            raise RpcError(METHOD_NOT_FOUND, str(error)) from None
        except InvalidParams as error:
            raise RpcError(INVALID_PARAMS, str(error)) from None
        except Refused as refused:
            await self._table.sync()  # the term of a call that was refused is not forgotten either
            raise RpcError(int(refused.code), str(refused)) from None
        except StepFailed as failed:
            raise RpcError(failed.failure.code, failed.failure.error) from None

    def _parse(self, method: str, params: Mapping[str, Any]) -> tuple[Verb, str | None]:  # Any: JSON values
        """The verb, and the id that the caller chose for it."""
        if self._config.stock and method == verbs.TaskForbidOrGet.method:
            raise UnknownVerb(method)
        if self._config.stock and "force" in params and method == verbs.TaskStop.method:
            raise InvalidParams(method, ("force: Extra inputs are not permitted",))
        kind = verbs.VERBS.get(method)
        if kind is None or self._config.stock or not kind.takes_task_id or verbs.TASK_ID_PARAM not in params:
            return verbs.parse(method, params), None
        rest = {name: value for name, value in params.items() if name != verbs.TASK_ID_PARAM}
        return verbs.parse(method, rest), verbs.parse_task_id(params[verbs.TASK_ID_PARAM])

    def _sender(self, headers: Mapping[str, str]) -> Sender:
        correlation_id = headers.get(verbs.CORRELATION_HEADER, "")[:_CORRELATION_CHARS_MAX] or None
        if self._config.stock:
            return Sender(correlation_id=correlation_id)
        flow, term = headers.get(verbs.FLOW_HEADER), headers.get(verbs.TERM_HEADER)
        whose = (None, None) if flow is None and term is None else verbs.parse_sender(flow or "", term or "")
        cluster, generation = headers.get(verbs.CLUSTER_HEADER), headers.get(verbs.GENERATION_HEADER)
        is_named = cluster is not None or generation is not None
        newness = verbs.parse_cluster(cluster or "", generation or "") if is_named else (None, None)
        return Sender(whose[0], whose[1], correlation_id, newness[0], newness[1])

    async def _answer(self, verb: Verb, task_id: str | None, sender: Sender) -> Any:  # Any: a JSON value
        match verb:
            case verbs.HostPing2():
                return True
            case verbs.HostGetCapabilities():
                return self._capabilities()
            case verbs.HostGetAllTasksStatuses():
                return await self._intake.statuses()
            case verbs.HostGetAllTasks():
                return await self._intake.statuses_with_verbs()
            case verbs.HostGetAllTasksInfo():
                return await self._intake.infos()
            case verbs.HostGetJobs(job_type=job_type, job_ids=job_ids):
                return await self._intake.host_jobs(job_type, frozenset(job_ids))
            case verbs.HostGetAllVmStats():
                return []
            case verbs.HostGetStats():
                figures = self._figures()
                return await self._host.blocking(lambda: host_stats(self._host, figures, is_stock=self._config.stock))
            case verbs.StoragePoolGetSpmStatus():
                return await self._host.blocking(spm_status, self._host, verb)
            case verbs.ImageGetVolumes() | verbs.ImageGetVolumesList():
                return await self._host.blocking(image_volumes, self._host, verb)
            case verbs.TaskGetStatus(taskID=known):
                return (await self._intake.status(known)).to_wire()
            case verbs.TaskGetInfo(taskID=known):
                return {"id": known, "verb": await self._intake.method(known)}
            case verbs.TaskStop(taskID=known, force=force):
                await self._intake.stop(known, sender, is_giving_up=bool(force))
                return True
            case verbs.TaskRevert(taskID=known):
                await self._intake.revert(known, sender)
                return True
            case verbs.TaskClear(taskID=known):
                await self._intake.clear(known, sender)
                return True
            case verbs.TaskForbidOrGet(taskID=known, flow=flow, term=term, forGood=for_good):
                status = await self._intake.forbid_or_get(known, flow, term, sender, is_for_good=bool(for_good))
                return status.to_wire()
            case verbs.VolumeGetInfo():
                return await self._host.blocking(volume_info, self._host, verb)
            case verbs.HostJobVerb(job_id=known):
                await self._intake.start(verb, known, sender)
                return True
            case _ if verb.is_async:
                return await self._intake.start(verb, task_id, sender)
            case _:
                return await self._run(verb, task_id, sender)

    async def _run(self, verb: Verb, task_id: str | None, sender: Sender) -> bool:
        """A synchronous change: true when it is durable. Raises `RpcError` with the task's failure.

        No other answer tells whether all was taken back: where it was not, the code says so. VDSM has no such code.
        """
        task = await self._intake.run(verb, task_id, sender)
        if task.failure is not None:
            is_clean = task.state is Inner.RECOVERED or self._config.stock
            raise RpcError(task.failure.code if is_clean else Code.OUTCOME_UNKNOWN, task.failure.error)
        return True

    def _figures(self) -> AgentFigures:
        return AgentFigures(
            tasks=len(self._table.ledger.tasks),
            unfinished=self._table.unfinished,
            journal_bytes=self._table.journal_bytes,
            running_s=int(time.monotonic() - self._began_s),
            damage=self._table.damage,
        )

    def _capabilities(self) -> dict[str, Any]:  # Any: JSON values
        if self._config.stock:
            return {"hostName": self._config.name}
        extension = {"version": verbs.EXTENSION_VERSION, "incarnation": self._table.incarnation}
        return {"hostName": self._config.name, verbs.CAPABILITY: extension}
