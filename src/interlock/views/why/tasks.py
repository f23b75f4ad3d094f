"""What an async task that has not ended is waiting for."""

import json

from sqlalchemy import and_, func, or_, select

from interlock.model.limits import of_host
from interlock.model.records import STOCK, TaskRecord
from interlock.model.states import TaskState
from interlock.model.waits import Wait, wait_of
from interlock.store.tables import async_tasks, limits
from interlock.views.why.answers import Answer, Kind, Scene
from interlock.views.words import moment


def of_task(scene: Scene, task: TaskRecord) -> Answer:
    """Of a wait, of work on a host, of a function of the engine's process."""
    if task.wait_json is not None:
        return _of_wait(scene, task, wait_of(task.wait_json))
    if task.host is None:
        return _answer(task, Kind.FUNCTION, f"{task.method} runs in the engine's process")
    return _on_host(scene, task)


def _answer(task: TaskRecord, kind: Kind, words: str, since: int | None = None) -> Answer:
    host = None if task.host is None else str(task.host)
    return Answer(kind, words, since or task.sent_at or task.created_at, task.deadline_at, host=host, task=task.id)


def _of_wait(scene: Scene, task: TaskRecord, wait: Wait) -> Answer:
    since, until = task.created_at, task.deadline_at
    if wait.job is not None:
        words = f"waits for the end of {scene.job_words(wait.job)}"
        return Answer(Kind.JOB, words, since, until, wait.job, task=task.id)
    if wait.question is not None:
        words = f"{wait.question} Who holds {wait.permission} may answer: `interlock job answer {task.flow_id}`"
        if task.answer_json is not None:
            words = f"{wait.question} {json.loads(task.answer_json)['by']} has answered; the answer is looked at next"
        return Answer(Kind.APPROVAL, words, since, until, task=task.id)
    if wait.signal is not None:
        about = "" if wait.about is None else f" about {scene.name(wait.about)}"
        return Answer(Kind.SIGNAL, f"waits for signal {wait.signal}{about}", since, until, ref=wait.about, task=task.id)
    names = ", ".join(scene.name(ref) for ref in task.refs[:5])
    ref = task.refs[0] if task.refs else None
    return Answer(
        Kind.UNTIL, f"waits until {wait.until}, which is asked of {names}", since, until, ref=ref, task=task.id
    )


def _on_host(scene: Scene, task: TaskRecord) -> Answer:
    assert task.host is not None
    name, known = scene.name(task.host), scene.hosts.get(str(task.host))
    is_sent = task.state is not TaskState.INITIALIZING
    if known is not None and not known["connected"]:
        why = f": {known['last_error']}" if known.get("last_error") else ""
        what = f"{task.method} is under way on" if is_sent else f"{task.method} cannot be sent to"
        return _answer(task, Kind.HOST_AWAY, f"{what} {name}, which is not connected{why}")
    if not is_sent:
        words = f"{task.method} waits to be taken by {name}"
        if task.incarnation not in (None, STOCK):
            words = f"{task.method} was sent to {name}, whose answer is awaited"
        elif (held := _held_back(scene, task)) is not None:
            return _answer(task, Kind.LIMIT, f"{task.method} waits for room on {name}: {held}")
        return _answer(task, Kind.HOST, words)
    if task.stalled_at is not None:
        stalled = moment(task.stalled_at)
        return _answer(task, Kind.HOST, f"{task.method} on {name} reports no progress since {stalled}", task.stalled_at)
    return _answer(task, Kind.HOST, f"{task.method} is under way on {name}, {task.progress} % done")


def _held_back(scene: Scene, task: TaskRecord) -> str | None:
    """How full the host is of tasks, where a limit says how full it may be."""
    assert task.host is not None
    limit = scene.connection.execute(select(limits).where(limits.c.key == of_host(task.host))).one_or_none()
    if limit is None:
        return None
    other = async_tasks.c
    is_sent = or_(other.state == TaskState.POLLING, other.incarnation.is_not(None))
    is_open = and_(other.host_type == task.host.type, other.host_id == task.host.id, other.outcome.is_(None), is_sent)
    under_way = scene.connection.scalar(select(func.count()).where(is_open)) or 0
    if limit.at_most is not None and under_way >= limit.at_most:
        return f"{under_way} of at most {limit.at_most} tasks are under way (limit {limit.key})"
    if limit.starts_max is not None:
        return f"at most {limit.starts_max} tasks begin within {limit.window_us / 1e6:g} s (limit {limit.key})"
    return None
