"""Answers of people to waits that ask for one: checked whole, then kept in the wait's row, which is then looked at."""

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from interlock.catalog import Catalog, Resolve, Unreadable, reasons_of
from interlock.clock import Clock
from interlock.coordinator import auditing
from interlock.coordinator.judging import planner_of
from interlock.core.flow import Flow
from interlock.model.actions import Action
from interlock.model.errors import InvalidInput, Missing, NotAllowed, Refused
from interlock.model.records import TaskRecord
from interlock.model.replacing import replace
from interlock.model.text import require_storable
from interlock.model.waits import DATA_MAX, Wait, wait_of
from interlock.secrets import Keyring


class Everything(Container[str]):
    """Who may do everything."""

    def __contains__(self, permission: object) -> bool:
        return True


EVERYTHING = Everything()


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody answers; `task_id` None means the only open question of the job."""

    form: Any
    by: str
    holds: Container[str]
    task_id: UUID | None = None


def answer(flow: Flow, given: Answer, catalog: Catalog, keyring: Keyring, clock: Clock, resolve: Resolve) -> None:
    """Writes the answer down, its secrets sealed.

    Raises Missing, NotAllowed, InvalidInput, and Refused where nothing asks any more.
    """
    task, wait = _asked(flow, given.task_id)
    require_storable("who answers", given.by)
    if wait.permission not in given.holds:
        raise NotAllowed(f"answering {wait.question!r} takes the permission {wait.permission}; {given.by} lacks it")
    if task.answer_json is not None:
        raise Refused(
            f"{json.loads(task.answer_json)['by']} has just answered {wait.question!r}; look at the job again"
        )
    adapter = _form(flow, task, wait, catalog)
    try:
        form = adapter.validate_python(given.form, context={"resolve": resolve})
    except ValidationError as error:
        raise InvalidInput(*reasons_of("answer", error)) from None
    shown = json.dumps(adapter.dump_python(form, mode="json"), ensure_ascii=False)
    if len(shown) > DATA_MAX:
        raise InvalidInput(f"the answer has {len(shown)} letters; at most {DATA_MAX}")
    sealed = adapter.dump_python(form, mode="json", context={"keyring": keyring})
    flow.put_task(replace(task, answer_json=json.dumps({"by": given.by, "answer": sealed})))
    words = f"{wait.question} {given.by} answered: {shown}"
    flow.add_event(clock.now_us(), "wait_answered", words, user=given.by, task_id=task.id, command_id=task.command_id)
    after = {"task": str(task.id), "question": wait.question, "answer": json.loads(shown)}
    auditing.note(flow, auditing.wish_of(given.by), Action.WAIT_ANSWER, clock.now_us(), after=after)


def questions(flow: Flow, catalog: Catalog) -> list[dict[str, Any]]:
    """What is asked at present, with the JSON schema of each answer. Raises Refused where a class is gone."""
    return [
        {
            "task_id": str(task.id),
            "question": wait.question,
            "permission": wait.permission,
            "refs": [str(ref) for ref in task.refs],
            "schema": _form(flow, task, wait, catalog).json_schema(),
        }
        for task, wait in _all_questions(flow)
        if task.outcome is None
    ]


def _form(flow: Flow, task: TaskRecord, wait: Wait, catalog: Catalog) -> TypeAdapter[Any]:
    try:
        return catalog.form(planner_of(flow, task).name, wait.until)
    except Unreadable as error:
        raise Refused(f"{wait.question!r} cannot be answered now: {error}") from None


def _all_questions(flow: Flow) -> list[tuple[TaskRecord, Wait]]:
    return [
        (task, wait)
        for task in flow.tasks.values()
        if task.wait_json is not None and (wait := wait_of(task.wait_json)).question is not None
    ]


def _asked(flow: Flow, task_id: UUID | None) -> tuple[TaskRecord, Wait]:
    """The question that is meant."""
    found = _all_questions(flow)
    if task_id is not None:
        found = [each for each in found if each[0].id == task_id]
        if not found:
            raise Missing(f"job {flow.id} has no question {task_id}; `interlock job show {flow.id}` shows its tasks")
    still_open = [each for each in found if each[0].outcome is None]
    if len(still_open) == 1:
        return still_open[0]
    if still_open:
        names = "; ".join(f"{task.id} ({wait.question})" for task, wait in still_open)
        raise Refused(f"job {flow.id} asks {len(still_open)} questions, name one: {names}")
    if found:
        task, wait = found[-1]
        raise Refused(f"{wait.question!r} is not open any more: it ended {task.outcome}")
    raise Refused(f"job {flow.id} asks nobody anything")
