"""Pausing: no part of a job that has not begun begins, until somebody lets it go on. What is under way goes on.

Deadlines are not paused, nor what undoes or ends; locks that are held are kept, places in line for others are given up.
"""

from interlock.core import limiting
from interlock.core.flow import Flow
from interlock.core.turns import mends
from interlock.model.errors import Refused
from interlock.model.locks import AGEING_US
from interlock.model.records import CommandRecord
from interlock.model.replacing import replace
from interlock.model.states import State
from interlock.model.wishes import Wish


def pause(flow: Flow, wish: Wish, now: int) -> None:
    """Raises Refused where nothing of the job is still to begin."""
    job = flow.job
    if job.paused_by is not None:
        raise Refused(f"job {job.id} is paused already, by {job.paused_by}; `interlock job resume {job.id}`")
    if not any(_may_begin(flow, command) for command in flow.commands.values()):
        how = f"it has ended {job.result}" if job.result else "all of it is under way, and goes on to its end"
        raise Refused(f"job {job.id} cannot be paused: nothing of it is still to begin; {how}")
    flow.put_job(replace(job, paused_by=wish.by))
    for command_id in {id for id, _ in (*flow.tickets, *flow.limit_tickets)}:
        flow.drop_tickets(command_id)
        flow.drop_limit_tickets(command_id)
    words = wish.words("paused: what has not begun waits")
    flow.add_event(now, "job_paused", words, user=wish.by, command_id=flow.id)


def resume(flow: Flow, wish: Wish, now: int) -> None:
    """Then the flow is to be examined. Raises Refused where it is not paused."""
    job = flow.job
    if job.paused_by is None:
        raise Refused(f"job {job.id} is not paused; `interlock job why {job.id}` says what it waits for")
    if job.result is not None:
        raise Refused(f"job {job.id} has ended {job.result}; nothing of it waits to go on")
    flow.put_job(replace(job, paused_by=None))
    flow.add_event(now, "job_resumed", wish.words("goes on"), user=wish.by, command_id=flow.id)


def _may_begin(flow: Flow, command: CommandRecord) -> bool:
    """Whether it is still to begin, or may be tried again."""
    if command.state is State.ENDED or mends(flow, command):
        return False
    retry = command.options.retry if command.options_json is not None else None
    may_follow = retry is not None and command.attempt < retry.attempts and command.stopping is None
    return command.state is State.PENDING or may_follow or (command.options.asks and command.stopping is None)


def prioritize(flow: Flow, priority: int, wish: Wish, now: int) -> None:
    """What waits has its place in line by the new priority. Raises Refused where the job has ended."""
    job = flow.job
    if job.result is not None:
        raise Refused(f"job {job.id} has ended {job.result}; its priority means nothing any more")
    if job.priority == priority:
        raise Refused(f"job {job.id} has the priority {priority} already")
    flow.put_job(replace(job, priority=priority))
    for ticket in list(flow.tickets.values()):
        flow.put_ticket(replace(ticket, rank=ticket.since - priority * AGEING_US))
    limiting.rerank(flow, priority)
    words = wish.words(f"priority changed from {job.priority} to {priority}")
    flow.add_event(now, "priority_changed", words, user=wish.by, command_id=flow.id)


def hide(flow: Flow, wish: Wish, now: int, *, visible: bool) -> None:
    """Whether lists show the job. Raises Refused where that is so already."""
    job = flow.job
    if job.visible is visible:
        raise Refused(f"job {job.id} is {'shown' if visible else 'hidden'} already")
    flow.put_job(replace(job, visible=visible))
    words = wish.words("shown in lists again" if visible else "hidden from lists")
    flow.add_event(now, "job_shown" if visible else "job_hidden", words, user=wish.by, command_id=flow.id)
