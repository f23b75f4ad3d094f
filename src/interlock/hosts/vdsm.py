"""A host that speaks VDSM's protocol, over one connection.

With the extension (announced in getCapabilities) the host dedupes by task id, fences by term and pushes; a
stock host does none of that, and no frame to it bears `taskID` of ours. How a task ended is decided by
taskResult, never by code.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any  # JSON values

import structlog

from interlock import failpoints
from interlock.hosts.backend import (
    Answered,
    Connect,
    HostLink,
    HostRefused,
    NotNow,
    NotSent,
    Report,
    Started,
    Unanswered,
    Unreachable,
)
from interlock.hosts.host_jobs import job_report
from interlock.hosts.words import CODES, fitting
from interlock.model.cluster import Cluster
from interlock.model.entities import Endpoint
from interlock.model.records import STOCK, TaskRecord
from interlock.model.states import Outcome
from interlock.verbs import (
    CAPABILITY,
    CLUSTER_HEADER,
    CORRELATION_HEADER,
    FLOW_HEADER,
    GENERATION_HEADER,
    TASK_ID_PARAM,
    TERM_HEADER,
    VERBS,
    Code,
    HostGetAllTasksStatuses,
    HostGetCapabilities,
    HostGetJobs,
    TaskClear,
    TaskForbidOrGet,
    TaskGetStatus,
    TaskResult,
    TaskStatus,
    TaskStop,
    Verb,
)
from interlock.wire import client as wire
from interlock.wire.limits import Limits
from interlock.wire.tls import CertificatesUnusable, client_context

#: "not now": nothing was started, ask again
NOT_NOW = frozenset({Code.RECOVERY_IN_PROGRESS, Code.RESOURCE_EXHAUSTED})
#: the id is known to the host or closed to us: it may have run
MAY_HAVE_RUN = frozenset(
    {
        Code.ADD_TASK,
        Code.TERM_TOO_OLD,
        Code.GENERATION_TOO_OLD,
        Code.START_FORBIDDEN,
        Code.TASK_ID_TOO_OLD,
        Code.TASK_CLEARED,
        Code.OUTCOME_UNKNOWN,
    }
)
#: the host's own bug: it may have done what was asked, or half of it
INTERNAL_ERROR = -32603
#: the statuses of 10,000 tasks are about 3 MB
LIMITS = Limits(body_bytes_max=4 << 20, send_buffer_bytes_max=16 << 20)
EVENT_PREFIX = "|storage|task_status|"

_log = structlog.get_logger(__name__)


def connector(tls_dir: Path | None, cluster: Cluster, *, plain_hosts: bool) -> Connect:
    """How hosts are reached for a cluster: with the certificates in a folder, or (loopback only) without TLS.

    Raises CertificatesUnusable.
    """
    tls = None if tls_dir is None else client_context(tls_dir)

    async def connect(endpoint: Endpoint, pushed: Callable[[], None]) -> HostLink:
        where = f"{endpoint.address}:{endpoint.port}"
        if endpoint.server_name is None and not plain_hosts:
            raise Unreachable(f"{where} has no TLS name; plain TCP must be allowed with --plain-hosts")
        if endpoint.server_name is not None and tls is None:
            raise Unreachable(f"{where} wants TLS, and this coordinator has no certificates")
        return await VdsmHost.connect(endpoint, tls, cluster, pushed)

    return connect


class VdsmHost:
    """A connected host; a `HostLink`."""

    def __init__(self, client: wire.Client, cluster: Cluster, capabilities: Mapping[str, Any]) -> None:
        self._client = client
        self._newness = {CLUSTER_HEADER: str(cluster.id), GENERATION_HEADER: str(cluster.generation)}
        self._incarnation = _incarnation(capabilities)

    @classmethod
    async def connect(
        cls, endpoint: Endpoint, tls: ssl.SSLContext | None, cluster: Cluster, pushed: Callable[[], None]
    ) -> "VdsmHost":
        """Connects and asks what the host can do. Raises Unreachable."""

        def on_event(method: str, params: Mapping[str, Any]) -> None:
            if method.startswith(EVENT_PREFIX):
                pushed()

        try:
            client = await wire.Client.connect(
                endpoint.address,
                endpoint.port,
                tls=tls if endpoint.server_name is not None else None,
                server_name=endpoint.server_name,
                on_event=on_event,
                limits=LIMITS,
            )
        except wire.ConnectFailed as error:
            raise Unreachable(str(error)) from error
        method = HostGetCapabilities().method
        try:
            with failpoints.around(f"{failpoints.HOST_CALL}{method}"):
                capabilities = await client.call(method, {})
            return cls(client, cluster, capabilities)
        except (wire.RpcError, wire.NotSent, wire.Unanswered, AttributeError, KeyError, TypeError, ValueError) as error:
            await client.close()
            words = f"{endpoint.address}:{endpoint.port} does not say what it can do: {fitting(str(error))}"
            raise Unreachable(words) from error
        except asyncio.CancelledError:
            await client.close()
            raise

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def dedupes(self) -> bool:
        return self._incarnation != STOCK

    async def wait_closed(self) -> None:
        await self._client.wait_closed()

    async def close(self) -> None:
        await self._client.close()

    def known_as(self, task: TaskRecord) -> str:
        verb = VERBS.get(task.method)
        is_host_job = verb is not None and verb.is_host_job
        return str(json.loads(task.arguments_json)["job_id"]) if is_host_job else str(task.id)

    async def start(self, task: TaskRecord, term: int) -> Started | Answered:
        params: dict[str, Any] = json.loads(task.arguments_json)
        verb = VERBS.get(task.method)
        if self.dedupes and verb is not None and verb.takes_task_id:
            params[TASK_ID_PARAM] = str(task.id)
        answer = await self._call(task.method, params, task, term)
        if not task.is_async:
            return Answered(json.dumps(answer))  # ASCII: what a host says may be no Unicode
        if verb is not None and verb.is_host_job:
            return Started(self.known_as(task))  # whatever it answered: it was told the id
        return Started(self._started_id(task, answer, params.get(TASK_ID_PARAM)))

    def _started_id(self, task: TaskRecord, answer: Any, ours: str | None) -> str:
        """The host's id of the task; raises Unanswered for one by which it could not be asked about."""
        try:
            id = TaskGetStatus(taskID=answer).taskID
        except ValueError as error:
            raise Unanswered(f"the answer to {task.method} is no task's id: {fitting(str(answer)[:80])}") from error
        if ours not in (None, id):
            raise Unanswered(f"{task.method} was to be task {ours}, and the host answers {id}")
        return id

    async def reports(self) -> dict[str, Report]:
        answer = await self._call(HostGetAllTasksStatuses().method, {})
        if not isinstance(answer, dict):
            raise Unanswered(f"the statuses of all tasks are {type(answer).__name__}, not an object")
        reports = {}
        for id, status in answer.items():
            try:
                reports[id] = _report(id, status)
            except Unanswered as error:  # the others are still good
                _log.warning("host_status_makes_no_sense", task=id, reason=str(error))
        return reports

    async def report(self, host_task_id: str) -> Report | None:
        report = await self._ask(TaskGetStatus(taskID=host_task_id), host_task_id)
        if report is not None or self.dedupes:
            return report
        verb = HostGetJobs(job_ids=[host_task_id])  # a stock host knows its jobs by this call only
        jobs = await self._call(verb.method, verb.wire_params())
        if not isinstance(jobs, dict):
            raise Unanswered(f"the jobs of the host are {type(jobs).__name__}, not an object")
        return job_report(host_task_id, jobs[host_task_id]) if host_task_id in jobs else None

    async def forbid_or_get(self, task: TaskRecord, term: int, *, for_good: bool = False) -> Report | None:
        flow, id = str(task.flow_id), self.known_as(task)
        verb = TaskForbidOrGet(taskID=id, flow=flow, term=term, forGood=True if for_good else None)
        return await self._ask(verb, verb.taskID, task, term)

    async def stop(self, task: TaskRecord, term: int) -> None:
        assert task.host_task_id is not None
        verb = TaskStop(taskID=task.host_task_id)
        await self._call(verb.method, verb.wire_params(), task, term)

    async def clear(self, task: TaskRecord, term: int) -> None:
        assert task.host_task_id is not None
        verb = TaskClear(taskID=task.host_task_id)
        try:
            await self._call(verb.method, verb.wire_params(), task, term)
        except HostRefused as refused:
            if refused.code not in (Code.UNKNOWN_TASK, Code.TASK_CLEARED):
                raise

    async def _ask(self, verb: Verb, id: str, task: TaskRecord | None = None, term: int = 0) -> Report | None:
        try:
            answer = await self._call(verb.method, verb.wire_params(), task, term)
        except HostRefused as refused:
            if refused.code == Code.UNKNOWN_TASK:
                return None
            raise
        return _report(id, answer)

    async def _call(self, method: str, params: Mapping[str, Any], task: TaskRecord | None = None, term: int = 0) -> Any:
        headers = dict(self._newness) if self.dedupes else {}
        if task is not None:
            headers[CORRELATION_HEADER] = task.correlation_id
            if self.dedupes:
                headers |= {FLOW_HEADER: str(task.flow_id), TERM_HEADER: str(term)}
        name = f"{failpoints.HOST_CALL}{method}"
        hit = failpoints.before(name)
        try:
            answer = await self._client.call(method, params, headers=headers)
        except wire.RpcError as error:
            failpoints.after(name, hit)
            if error.code == INTERNAL_ERROR and task is not None and task.is_mutating:
                raise Unanswered(f"{method}: {error.message}") from error
            if error.code in NOT_NOW:
                raise NotNow(f"{method}: {error.message}") from error
            raise _refused(error, task) from error
        except wire.NotSent as error:
            raise NotSent(str(error)) from error
        except wire.Unanswered as error:
            raise Unanswered(str(error)) from error
        failpoints.after(name, hit)
        return answer


def _incarnation(capabilities: Mapping[str, Any]) -> str:
    """The journal that the host announces, STOCK where it announces no extension. Raises what odd JSON raises:
    a host that has the extension must not be taken for one without fencing."""
    if CAPABILITY not in capabilities:
        return STOCK
    incarnation = capabilities[CAPABILITY]["incarnation"]
    if not isinstance(incarnation, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", incarnation) or incarnation == STOCK:
        raise ValueError(f"its journal's incarnation is {str(incarnation)[:80]!r}")
    return incarnation


def _refused(error: wire.RpcError, task: TaskRecord | None) -> HostRefused:
    """An async verb that was refused never ran; a synchronous one failed; a known id may have run."""
    if error.code in MAY_HAVE_RUN:
        outcome = Outcome.UNKNOWN
    elif task is not None and task.is_async:
        outcome = Outcome.REFUSED
    else:
        outcome = Outcome.FAILED
    code = error.code if error.code in CODES else Code.GENERAL
    return HostRefused(code, fitting(error.message), outcome)


def _report(host_task_id: str, answer: Any) -> Report:
    try:
        status = TaskStatus.model_validate({"taskID": host_task_id, **answer})
        if status.taskID != host_task_id:
            raise ValueError(f"it is of task {status.taskID[:80]}")
        if status.code not in CODES:
            raise ValueError(f"no host has the code {str(status.code)[:20]}…")
    except (TypeError, ValueError) as error:
        raise Unanswered(f"the status of host task {host_task_id} makes no sense: {fitting(str(error))}") from error
    words = fitting(status.message)
    return Report(_outcome(status), status.taskState, status.taskResult, status.code, words, status.progress)


def _outcome(status: TaskStatus) -> Outcome | None:
    if not status.is_done:
        return None
    if status.taskResult is TaskResult.SUCCESS:
        return Outcome.SUCCEEDED
    is_untold = status.taskResult is TaskResult.NONE or status.code == Code.OUTCOME_UNKNOWN
    return Outcome.UNKNOWN if is_untold else Outcome.FAILED


__all__ = ["CertificatesUnusable", "VdsmHost", "connector"]
