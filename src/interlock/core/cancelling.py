"""Cancelling: a person stops a job, a part of it, or its tasks; what does not end is abandoned only when forced.

A cancel goes through the tree to the host tasks, and what has completed is undone. It never undoes a success: what has
passed a point of no return goes on, and a cancel that would change nothing is refused with the reason (hard case 28).
"""

from uuid import UUID

from interlock.core import stopping, tasks, turns
from interlock.core.ending import has_passed
from interlock.core.facts import TaskEnded
from interlock.core.flow import Flow
from interlock.model.errors import Missing, Refused
from interlock.model.records import CommandRecord, Role, Severity, TaskRecord
from interlock.model.states import Outcome, Phase, State, TaskState
from interlock.model.trials import RESTORED
from interlock.model.wishes import Wish

#: how many things an event or a refusal names
_NAMED_MAX = 10


def cancel(flow: Flow, wish: Wish, now: int) -> None:
    """Stops what is meant and undoes it; what goes on all the same is said. Then the flow is to be examined. Raises
    Refused where it is too late, Missing."""
    _require_known(flow)
    found = meant(flow, wish)
    if isinstance(found, TaskRecord):
        stop_tasks(flow, wish, now)
        return
    if turns.mends(flow, found):
        raise Refused(f"{found.title} ({found.id}) mends what failed and is not cancelled; it can only be forced")
    fates = _Fates(flow)
    if (why := fates.refusal(found)) is not None:
        raise Refused(f"{found.title} ({found.id}) cannot be cancelled: {why}{_who_asks(flow, found)}")
    words = wish.words(f"{found.title} was cancelled")
    flow.add_event(now, "cancel_accepted", words, Severity.WARNING, user=wish.by, command_id=found.id)
    spared = [each for each in below(flow, found) if fates.goes_on(each) is not None]
    going_on = [each for each in spared if each.state is State.EXECUTING and each.stopping is None]
    for each in going_on[:_NAMED_MAX]:
        told = f"{each.title} goes on: {fates.goes_on(each)}"
        flow.add_event(now, "cancel_too_late", told, Severity.WARNING, command_id=each.id)
    stopping.stop(flow, found, wish.words("cancelled"), now, wish.by, {each.id for each in spared})
    parked = [each for each in below(flow, found) if each.attention is not None and each.result is None]
    for each in parked[:_NAMED_MAX]:
        told = f"{each.title} ends only when a person has seen to it: {each.attention}"
        flow.add_event(now, "cancel_waits", told, Severity.WARNING, command_id=each.id)


def stop_tasks(flow: Flow, wish: Wish, now: int) -> None:
    """Asks hosts to stop the tasks that are meant; how their commands end is as ever. Raises Refused where none is
    left to stop, Missing."""
    found = meant(flow, wish)
    wanted = [found] if isinstance(found, TaskRecord) else _tasks_of(flow, below(flow, found))
    wanted = [task for task in wanted if task.outcome is None]
    fresh = [task for task in wanted if task.stopping is None and _may_stop(flow, task)]
    if not fresh:
        name = found.method if isinstance(found, TaskRecord) else found.title
        how = "those that have not ended are being stopped, or mend what failed" if wanted else "none has not ended"
        raise Refused(f"{name} ({found.id}) has no task to stop: {how}")
    named = ", ".join(task.method for task in fresh[:_NAMED_MAX])
    more = f" and {len(fresh) - _NAMED_MAX} more" if len(fresh) > _NAMED_MAX else ""
    words = wish.words(f"{named}{more} stopped")
    flow.add_event(now, "stop_accepted", words, Severity.WARNING, user=wish.by, command_id=_command_id(found))
    for task in fresh:
        stopping.stop_task(flow, task, wish.words("stopped"), wish.by)


def force(flow: Flow, wish: Wish, now: int) -> list[TaskRecord]:
    """Cancels what can be cancelled, and abandons every task that has not ended: each may go on, and is a leftover.
    Returns them: nobody watches them any more. Raises Refused where there is nothing to do, Missing."""
    _require_known(flow)
    found = meant(flow, wish)
    top = flow.commands[_command_id(found)]
    unfinished = [found] if isinstance(found, TaskRecord) else _tasks_of(flow, below(flow, top))
    unfinished = [task for task in unfinished if task.outcome is None]
    can_stop = isinstance(found, CommandRecord) and not turns.mends(flow, found) and _Fates(flow).refusal(found) is None
    if not unfinished and not can_stop:
        words = f"{top.title} ({top.id}) has no task that could be abandoned; it is {top.state}"
        raise Refused(words + _who_asks(flow, top))
    if can_stop:
        cancel(flow, wish, now)
    words = wish.words("abandoned")
    for task in unfinished:
        is_over = _runs_nowhere(task)
        stopping.stop_task(flow, flow.tasks[task.id], words, wish.by)
        outcome = Outcome.STOPPED if is_over else Outcome.UNKNOWN
        tasks.reported(flow, TaskEnded(task.id, outcome, message=words), now)
        if not is_over:
            told = f"{task.method} on {task.host or 'this process'} was {words}"
            flow.add_event(
                now, "task_abandoned", told, Severity.WARNING, user=wish.by, command_id=task.command_id,
                task_id=task.id,
            )  # fmt: skip
    return [task for task in unfinished if task.wait_json is None]


def _require_known(flow: Flow) -> None:
    """What came from a backup may have gone on since: to end it as what never began would be a lie."""
    if flow.job.claims >= RESTORED:
        raise Refused(
            f"job {flow.id} is from a backup, and nobody here knows what was done of it since; have it tried again, "
            "and then cancel it, or end it by force: `interlock job retry`, `force-failure`"
        )


class _Fates:
    """What of a flow can still be stopped, each answer computed once."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._known: dict[UUID, str | None] = {}

    def refusal(self, command: CommandRecord) -> str | None:
        """Why to cancel it would change nothing; None: it can be cancelled."""
        if command.state is State.EXECUTING and command.stopping is not None:
            return f"it is being stopped already ({command.stopping}); where that takes too long, force it"
        return self.goes_on(command)

    def goes_on(self, command: CommandRecord) -> str | None:
        """Why it goes on to its end whatever is wished; None: it can be stopped, or is being stopped."""
        if command.id not in self._known:
            self._known[command.id] = self._why(command)
        return self._known[command.id]

    def _why(self, command: CommandRecord) -> str | None:
        match command.state:
            case State.ENDED:
                return f"it is too late, it has ended {command.result}"
            case State.PENDING:
                return None
            case State.COMPENSATING:
                return "it is too late, it has failed and what it completed is being undone"
            case State.FINALIZING:
                return f"it is too late, its parts are over and {command.phase} is under way"
        if command.asking is not None:
            return None  # nothing of it goes on by itself
        if command.options.no_return or has_passed(self._flow, command):
            return "it is too late, its point of no return was reached"
        if any(task.outcome is None for task in self._flow.tasks_for(command.id, Role.FORWARD)):
            return None
        children = self._flow.children_of(command.id, Role.FORWARD)
        unfinished = [child for child in children if child.state is not State.ENDED]
        reasons = [None if _more_follows(command, child) else self.goes_on(child) for child in unfinished]
        return reasons[0] if reasons and None not in reasons else None


def _more_follows(command: CommandRecord, part: CommandRecord) -> bool:
    """Whether the failure of a part that is about to fail would not be the end of its command."""
    fails = part.state is State.COMPENSATING or part.phase is Phase.END_WITH_FAILURE
    retry = part.options.retry
    return fails and (command.options.asks or (retry is not None and part.attempt < retry.attempts))


def _may_stop(flow: Flow, task: TaskRecord) -> bool:
    """What mends is not stopped: what it is to mend would be left broken."""
    return task.role is Role.FORWARD and not turns.mends(flow, flow.commands[task.command_id])


def _runs_nowhere(task: TaskRecord) -> bool:
    """A wait, and what is certainly not sent: no host's journal is noted as its address."""
    is_unsent = task.host is not None and task.state is TaskState.INITIALIZING and task.incarnation is None
    return task.wait_json is not None or is_unsent


def meant(flow: Flow, wish: Wish) -> CommandRecord | TaskRecord:
    """The command or task of the flow that the wish is about. Raises Missing, and Refused for a step of neither."""
    id = flow.id if wish.target is None else wish.target
    found = flow.commands.get(id) or flow.tasks.get(id)
    if found is None and id in flow.steps:
        words = "stands for nothing that has been planned; name what holds it, or the whole job"
        raise Refused(f"step {flow.steps[id].name} ({id}) {words}")
    if found is None:
        raise Missing(f"job {flow.id} has no command, step or task {id}; `interlock job show {flow.id}` shows them")
    return found


def below(flow: Flow, command: CommandRecord) -> list[CommandRecord]:
    """The command and all below it, in whichever phase they were planned; parents come first."""
    children: dict[UUID | None, list[CommandRecord]] = {}
    for each in flow.commands.values():
        children.setdefault(each.parent_id, []).append(each)
    found = [command]
    for each in found:  # grows as it goes
        found += children.get(each.id, ())
    return found


def _who_asks(flow: Flow, command: CommandRecord) -> str:
    """What can be cancelled all the same, since nothing of it goes on by itself: a command below that asks."""
    asking = next((each for each in below(flow, command) if each.asking is not None), None)
    if asking is None:
        return ""
    return f"; {asking.title} ({asking.id}) asks what is to become of it: retry, skip or cancel that one"


def _tasks_of(flow: Flow, commands: list[CommandRecord]) -> list[TaskRecord]:
    ids = {command.id for command in commands}
    return [task for task in flow.tasks.values() if task.command_id in ids]


def _command_id(found: CommandRecord | TaskRecord) -> UUID:
    return found.id if isinstance(found, CommandRecord) else found.command_id
