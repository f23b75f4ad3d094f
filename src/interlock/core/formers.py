"""Formers: the jobs that another comes after, and what their ends mean for it."""

from collections.abc import Collection, Sequence
from uuid import UUID

from interlock.core import leaving
from interlock.core.facts import FormersEnded
from interlock.core.flow import Flow
from interlock.model.calls import AfterPolicy
from interlock.model.failure import Failure
from interlock.model.records import FormerRecord
from interlock.model.replacing import replace
from interlock.model.states import Result, State

#: how many jobs a reason names
_NAMED_MAX = 10


def verdict(formers: Collection[FormerRecord]) -> bool | None:
    """Whether a job that comes after these may begin: True, not yet (None), or never (False)."""
    if any(_is_against(each) for each in formers):
        return False
    if any(each.result is None for each in formers):
        return None
    alarms = [each for each in formers if each.policy is AfterPolicy.FAILED]
    return not alarms or any(each.result is not Result.SUCCEEDED for each in alarms)


def let_begin(flow: Flow) -> bool:
    """Whether the flow may begin, as far as it has been told."""
    return not flow.formers or verdict(flow.formers.values()) is True


def ended(flow: Flow, fact: FormersEnded, now: int) -> list[UUID]:
    """Writes down how formers ended; returns the flow command where it may begin now, or who is to be examined
    because it never will."""
    command = flow.commands[fact.command_id]
    if command.state is not State.PENDING:
        return []
    gone = [id for id, result in fact.results if result is None]
    for id, result in fact.results:
        if result is not None:
            flow.put_former(replace(flow.formers[id], result=result))
    may_begin = False if gone else verdict(flow.formers.values())
    if may_begin is False:
        failure = Failure(_why_never(command.title, list(flow.formers.values()), gone))
        return leaving.end(flow, replace(command, failure_json=failure.to_json()), Result.CANCELLED, now)
    return [command.id] if may_begin else []


def _is_against(former: FormerRecord) -> bool:
    return former.policy is AfterPolicy.SUCCEEDED and former.result in (Result.FAILED, Result.CANCELLED)


def _why_never(title: str, formers: Sequence[FormerRecord], gone: Sequence[UUID]) -> str:
    if gone:
        how = [f"job {id}, which is gone" for id in gone]
    else:
        how = [f"job {each.former_id}, which ended {each.result}" for each in formers if _is_against(each)]
    if how:
        return f"{title} was to come after {_named(how)}; start it by itself"
    others = [f"job {each.former_id}" for each in formers if each.policy is AfterPolicy.FAILED]
    return f"{title} was to run only where not all succeed of {_named(others)}; they have"


def _named(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED_MAX} more" if len(words) > _NAMED_MAX else ""
    return ", ".join(words[:_NAMED_MAX]) + more
