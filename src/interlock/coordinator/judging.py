"""Judging: is what a wait waits for true? It is asked of rows, whatever woke the question (design rule 3)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from interlock.catalog import Catalog, Unreadable, method_of
from interlock.command import Command, Reader
from interlock.coordinator.change_set import World
from interlock.coordinator.circling import NEVER_ENDS, leads_back
from interlock.coordinator.snapshot import Snapshot
from interlock.core import narration
from interlock.core.facts import FormersEnded, TaskEnded
from interlock.core.flow import Flow
from interlock.model.failure import Failure
from interlock.model.limits import LimitRecord
from interlock.model.records import CommandRecord, TaskRecord
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Result, State
from interlock.model.waits import Approval, Wait, wait_of
from interlock.secrets import Keyring, MissingKey
from interlock.steps import Steps


def planner_of(flow: Flow, task: TaskRecord) -> CommandRecord:
    """The command whose phase planned the task: groups have no methods of their own."""
    command, undoes = flow.commands[task.command_id], task.undoes
    while undoes is None and command.name == Steps.command_type.name and command.parent_id is not None:
        command, undoes = flow.commands[command.parent_id], command.undoes
    return command if undoes is None else flow.commands[undoes]


def judge(
    flow: Flow,
    task: TaskRecord,
    subject: Command[Any],
    db: Reader,
    snapshot: Snapshot,
    world: World,
    limits: Mapping[str, LimitRecord],
) -> TaskEnded | None:
    """How the wait has ended, or None: it goes on. Raises what the command's method raises, and Unreadable where that
    is gone, or the key to an answer."""
    assert task.wait_json is not None
    wait = wait_of(task.wait_json)
    if wait.job is not None:
        return _of_job(flow, task, wait.job, snapshot, limits)
    if wait.signal is not None:
        return _of_signals(flow, task, wait, subject, db, snapshot, world.catalog)
    if wait.question is not None:
        return _of_answer(flow, task, wait, subject, db, world.catalog, world.keyring)
    assert wait.until is not None
    return _ended(task.id, _verdict(wait.until, method_of(type(subject), wait.until)(subject, db)))


def needs_person(flow: Flow, task: TaskRecord, error: Unreadable, now: int) -> None:
    """A wait goes on until somebody brings back what judges it (hard case 29)."""
    planner = planner_of(flow, task)
    parked = flow.commands[task.command_id] if planner.state is State.ENDED else planner
    if parked.attention is None:
        narration.raise_attention(flow, parked, str(error), now)


def formers_of(flow: Flow, snapshot: Snapshot) -> FormersEnded | None:
    """What the jobs that a flow comes after mean for it; None: none of them has ended since it was told."""
    awaited = [each.former_id for each in flow.formers.values() if each.result is None]
    found = snapshot.results_of(awaited)
    results = [(id, found.get(id)) for id in awaited if id not in found or found[id] is not None]
    return FormersEnded(flow.id, tuple(results)) if results else None


def _of_job(
    flow: Flow, task: TaskRecord, job_id: UUID, snapshot: Snapshot, limits: Mapping[str, LimitRecord]
) -> TaskEnded | None:
    root = snapshot.root_of(job_id)
    if root is None:
        return TaskEnded(task.id, Outcome.FAILED, message=f"job {job_id} is gone")
    if root.state is not State.ENDED:
        circle = leads_back(flow, job_id, limits, snapshot)
        return None if circle is None else TaskEnded(task.id, Outcome.FAILED, message=f"{NEVER_ENDS}: {circle}")
    if root.result is Result.SUCCEEDED:
        return TaskEnded(task.id, Outcome.SUCCEEDED, answer_json=root.value_json, message=f"job {job_id} succeeded")
    why = f": {Failure.from_json(root.failure_json).message}" if root.failure_json else ""
    return TaskEnded(task.id, Outcome.FAILED, message=f"job {job_id} ended {root.result}{why}")


def _of_signals(
    flow: Flow,
    task: TaskRecord,
    wait: Wait,
    subject: Command[Any],
    db: Reader,
    snapshot: Snapshot,
    catalog: Catalog,
) -> TaskEnded | None:
    assert wait.signal is not None
    passed = wait.passed
    for number, found in snapshot.signals(wait.signal, wait.about, wait.begun_after, wait.passed, flow.id):
        passed = number
        if found.id in flow.signals or found.id in wait.not_these:
            continue  # another wait of this flow has just taken it, or the flow sent it before
        for answer in _answers(wait, subject, found.data_json, catalog):
            ended = _ended(task.id, _of_method(wait, subject, db, answer), found.data_json)
            if ended is not None:
                if found.job_id is not None:
                    flow.take_signal(found, task.id)
                return ended
    if passed > wait.passed:  # its being stored makes the wait look once more: there may be a next page
        flow.put_task(replace(task, wait_json=replace(wait, passed=passed).to_json()))
    return None


def _of_answer(
    flow: Flow,
    task: TaskRecord,
    wait: Wait,
    subject: Command[Any],
    db: Reader,
    catalog: Catalog,
    keyring: Keyring,
) -> TaskEnded | None:
    if task.answer_json is None:
        return None
    told = json.loads(task.answer_json)
    for answer in _answers(wait, subject, json.dumps(told["answer"]), catalog, keyring):
        ended = _ended(task.id, _of_method(wait, subject, db, answer, told["by"]), task.answer_json)
        if ended is not None:
            return ended
    flow.put_task(replace(task, answer_json=None))
    words = f"the answer of {told['by']} did not decide {wait.question!r}; it is still asked"
    flow.add_event(db.now, "answer_undecided", words, task_id=task.id, command_id=task.command_id)
    return None


def _answers(
    wait: Wait, subject: Command[Any], data_json: str, catalog: Catalog, keyring: Keyring | None = None
) -> Iterator[Any]:
    """The data as the method takes it, sealed secrets opened with the keyring; nothing where it cannot."""
    if wait.until is None and wait.question is None:
        yield None
        return
    try:
        form = catalog.form(subject.command_type.name, wait.until)
        yield form.validate_json(data_json, context={"keyring": keyring})
    except ValidationError:
        return
    except MissingKey as error:
        raise Unreadable(str(error)) from error


def _of_method(wait: Wait, subject: Command[Any], db: Reader, answer: Any, by: str = "") -> bool | Failure:
    if wait.until is not None:
        return _verdict(wait.until, method_of(type(subject), wait.until)(subject, db, answer))
    if isinstance(answer, Approval) and not answer.approve:
        reason = f": {answer.reason}" if answer.reason else ""
        return Failure(f"{by} did not approve{reason}")
    return True


def _verdict(name: str, verdict: Any) -> bool | Failure:
    if not isinstance(verdict, (bool, Failure)):
        raise TypeError(f"{name} answered {verdict!r}; it must be True, False or a Failure")
    return verdict


def _ended(task_id: UUID, verdict: bool | Failure, answer_json: str | None = None) -> TaskEnded | None:
    if isinstance(verdict, Failure):
        return TaskEnded(task_id, Outcome.FAILED, message=verdict.message, answer_json=answer_json)
    return TaskEnded(task_id, Outcome.SUCCEEDED, answer_json=answer_json) if verdict else None
