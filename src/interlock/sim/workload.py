"""What people ask of the coordinator in one run, planned beforehand; they ask again where they got no answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from interlock.coordinator.coordinator import Coordinator
from interlock.model.actions import Action
from interlock.model.calls import AfterPolicy
from interlock.model.decisions import Decision
from interlock.model.errors import Bug, DatabaseLost, InterlockError, Refused
from interlock.sim.engines import SimEngine
from interlock.sim.sites import Site, Submission
from interlock.sim.timeline import Timeline
from interlock.store.tables import actions, command_entities, job

#: how many jobs a run has at most, and how many wishes about them
JOBS_MAX, WISHES_MAX = 6, 4
#: how many of the jobs come at one time
TOGETHER_SHARE = 0.3
#: who got no answer asks again after so long
AGAIN_S = 7.0
#: how often somebody looks after jobs in the end, and after how many looks they are ended by force
CARE_S, PATIENT_ROUNDS = 20.0, 3
_TOLD = "somebody was told"


class Wish(StrEnum):
    """What people want of a job."""

    CANCEL = "cancel"
    FORCE = "force"
    STOP_TASKS = "stop tasks"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    RESTART = "restart"
    PRIORITY = "priority"


_ACTIONS = {
    Wish.CANCEL: Action.JOB_CANCEL,
    Wish.FORCE: Action.JOB_FORCE,
    Wish.STOP_TASKS: Action.JOB_STOP,
    Wish.PAUSE: Action.JOB_PAUSE,
    Wish.RESUME: Action.JOB_RESUME,
    Wish.RETRY: Action.JOB_RETRY,
    Wish.SKIP: Action.JOB_SKIP,
    Wish.RESTART: Action.JOB_RESTART,
    Wish.PRIORITY: Action.JOB_PRIORITY,
}


@dataclass
class Ask:
    """A submission, or a wish about one; `answer` is what was told, at last."""

    at_s: float
    number: int
    submission: Submission | None = None
    priority: int = 0
    waits: bool = False
    after: tuple[int, ...] = ()
    asks: bool = False
    wish: Wish | None = None
    answer: str | None = None
    job_id: UUID | None = None


def planned(chance: Random, site: Site, until_s: float) -> list[Ask]:
    """The submissions and wishes of one run, in the order of their times."""
    count, all_at_s = chance.randint(1, JOBS_MAX), chance.uniform(0, until_s)
    jobs = []
    times = sorted(all_at_s if chance.random() < TOGETHER_SHARE else chance.uniform(0, until_s) for _ in range(count))
    for number, (at_s, submission) in enumerate(zip(times, site.submissions(chance, count), strict=True)):
        after = tuple(former for former in range(number) if chance.random() < 0.15)
        priority = chance.choice((0, 0, 0, 5, -5))
        asks = chance.random() < 0.15 and site.catalog.commands[submission.command].command_type.resumable
        jobs.append(Ask(at_s, number, submission, priority, chance.random() < 0.7, after, asks))
    wishes = [
        Ask(chance.uniform(0, until_s), chance.randrange(count), wish=chance.choice(list(Wish)))
        for _ in range(chance.randint(0, WISHES_MAX))
    ]
    return sorted([*jobs, *wishes], key=lambda ask: ask.at_s)


class People:
    """Ask, and hear answers; `told` is called with each."""

    def __init__(
        self, timeline: Timeline, engine: SimEngine, asks: list[Ask], told: Callable[[str, str], None]
    ) -> None:
        self._timeline = timeline
        self._engine = engine
        self._told = told
        self.asks = asks
        self._rounds: Counter[UUID] = Counter()
        self._jobs = {ask.number: ask for ask in asks if ask.wish is None}
        for ask in asks:
            timeline.at(ask.at_s, None, lambda ask=ask: self._ask(ask))  # type: ignore[misc]

    @property
    def are_content(self) -> bool:
        """Whether everybody has an answer."""
        return all(ask.answer is not None for ask in self.asks)

    def _ask(self, ask: Ask) -> None:
        engine = self._engine
        if ask.answer is not None:
            return
        self._timeline.after(AGAIN_S, None, lambda: self._ask(ask))
        if engine.coordinator is None or engine.process is None or engine.process.is_dead:
            return
        act = self._submit if ask.wish is None else self._wish
        process, coordinator = engine.process, engine.coordinator
        process.begin(lambda: act(ask, coordinator), _TOLD)

    async def _submit(self, ask: Ask, coordinator: Coordinator) -> None:
        assert ask.submission is not None
        formers = [id for number in ask.after if (id := self._jobs[number].job_id) is not None]
        try:
            job = await coordinator.submit_input(
                ask.submission.command,
                ask.submission.parameters,
                idempotency_key=f"key-{ask.number}",
                correlation_id=f"ticket-{ask.number}",
                user="ann",
                priority=ask.priority,
                wait_for_locks=ask.waits,
                ask=ask.asks,
                after=formers,
                after_policy=AfterPolicy.ENDED,
            )
        except Refused as refused:
            self._hear(ask, f"refused: {refused}", refused.job_id)
        except Bug:
            raise
        except InterlockError:
            return  # it stops; asked again
        else:
            self._hear(ask, "accepted", job.id)

    async def _wish(self, ask: Ask, coordinator: Coordinator) -> None:
        job = self._jobs[ask.number].job_id
        if job is None:
            if self._jobs[ask.number].answer is not None:
                self._hear(ask, "there is no such job", None)
            return
        try:
            await _done(ask, coordinator, job)
        except Refused as refused:
            self._hear(ask, f"refused: {refused}", job)
        except Bug:
            raise
        except InterlockError:
            return
        else:
            self._hear(ask, "done", job)

    def cancel_all(self) -> None:
        """Somebody cancels every job of which they know."""
        for number in [number for number, ask in self._jobs.items() if ask.job_id is not None]:
            ask = Ask(self._timeline.now_s, number, wish=Wish.CANCEL)
            self.asks.append(ask)
            self._ask(ask)

    def look_after(self) -> None:
        """From now on somebody resumes what is paused, and cancels what needs attention: at last by force."""
        engine = self._engine
        if engine.coordinator is not None and engine.process is not None and not engine.process.is_dead:
            process, coordinator = engine.process, engine.coordinator
            process.begin(lambda: self._tidy(coordinator), _TOLD)
        self._timeline.after(CARE_S, None, self.look_after)

    async def _tidy(self, coordinator: Coordinator) -> None:
        who: Any = {"by": "opal", "reason": "it is late"}  # Any: beside arguments of other types
        query = select(job.c.id, job.c.paused_by, job.c.attention).where(job.c.ended_at.is_(None))
        command = command_entities.c
        asking = select(command.flow_id, command.id).where(command.asking.is_not(None)).order_by(command.id)
        try:
            with coordinator.reading() as connection:
                found = connection.execute(query.order_by(job.c.id)).all()
                asks = {flow: id for flow, id in connection.execute(asking)}
        except DatabaseLost:
            return  # the next look finds them
        for id, paused_by, attention in found:
            self._rounds[id] += attention is not None
            try:
                if paused_by is not None:
                    await coordinator.resume(id, **who)
                elif attention is not None and self._rounds[id] > PATIENT_ROUNDS:
                    await coordinator.settle(id, Decision.FORCE_FAILURE, leave_tasks=True, **who)
                elif attention is not None:
                    again = self._rounds[id] > 1
                    await coordinator.cancel(id, target=asks.get(id) if again else None, force=again, **who)
            except InterlockError as error:
                self._told("people", f"tidying {id}: {error}")

    def forgotten(self, connection: Connection) -> Iterator[str]:
        """What people were told, and is not so: 1, 16 and 24."""
        kept = set(connection.scalars(select(job.c.id)))
        begun = Counter(connection.scalars(select(job.c.correlation_id).where(job.c.user == "ann")))
        for ticket, many in begun.items():
            if many > 1:
                yield f"1: {ticket} was submitted once, and there are {many} jobs of it"
        noted = connection.execute(select(actions.c.what, actions.c.subject_id, actions.c.by)).all()
        done = {(Action(what), subject, by) for what, subject, by in noted}
        for ask in self.asks:
            if ask.job_id is not None and ask.job_id not in kept:
                yield f"1: job {ask.job_id} was acknowledged ({ask.answer}) and is not there"
            if ask.wish is not None and ask.answer == "done" and (_ACTIONS[ask.wish], ask.job_id, "ben") not in done:
                yield f"24: {ask.wish} of job {ask.job_id} was done, and no action tells of it"

    def _hear(self, ask: Ask, answer: str, job_id: UUID | None) -> None:
        if ask.answer is None:
            ask.answer, ask.job_id = answer, job_id
            self._told("people", f"{ask.wish or 'submit'} {ask.number}: {answer} {job_id}")


async def _done(ask: Ask, coordinator: Coordinator, job: UUID) -> None:
    who: Any = {"by": "ben", "reason": "simulated"}  # Any: beside arguments of other types
    match ask.wish:
        case Wish.CANCEL:
            await coordinator.cancel(job, **who)
        case Wish.FORCE:
            await coordinator.cancel(job, force=True, **who)
        case Wish.STOP_TASKS:
            await coordinator.stop_tasks(job, **who)
        case Wish.PAUSE:
            await coordinator.pause(job, **who)
        case Wish.RESUME:
            await coordinator.resume(job, **who)
        case Wish.RETRY:
            await coordinator.settle(job, Decision.RETRY, **who)
        case Wish.SKIP:
            await coordinator.settle(job, Decision.SKIP, **who)
        case Wish.RESTART:
            await coordinator.restart(job, idempotency_key=f"restart-{job}-{ask.at_s}", **who)
        case Wish.PRIORITY:
            await coordinator.set_priority(job, 7, **who)
