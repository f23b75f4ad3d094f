"""Many small jobs that differ in all that one can ask for, and what a query means for them, said in plain Python."""

import random
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from interlock.model.changes import Record
from interlock.model.records import CommandRecord, EntityRecord, JobRecord, Role, TaskRecord
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState

NOW = 1_767_225_600_000_000
SECOND = 1_000_000
TYPES = ("disk", "host", "vm")
VMS = [
    EntityRecord(Ref("vm", UUID(int=100 + n)), 1, 0, name, "UP", 1, "{}")
    for n, name in enumerate(["web1", "web2", "db1"])
]
HOSTS = [EntityRecord(Ref("host", UUID(int=200 + n)), 1, 0, f"h{n}", "UP", 1, "{}") for n in range(2)]
ENDS = (
    (StepStatus.FINISHED, Result.SUCCEEDED), (StepStatus.FINISHED, Result.SUCCEEDED),
    (StepStatus.FAILED, Result.FAILED), (StepStatus.ABORTED, Result.CANCELLED),
    (StepStatus.STARTED, None), (StepStatus.PENDING, None),
)  # fmt: skip


class Job:
    """A job, and what there is beside it."""

    def __init__(self, number: int, chance: random.Random) -> None:
        status, result = chance.choice(ENDS)
        started = NOW - chance.randrange(100) * SECOND  # several at one moment
        over = None if result is None else started + chance.randrange(200) * SECOND
        self.vm, self.host = chance.choice(VMS), chance.choice([*HOSTS, None])
        action = chance.choice(["vm.remove", "vm.add", "disk.copy"])
        title = chance.choice([f"Do {action}", f"{self.vm.name} [50%]", "a_b*c", "Ümläut"])
        self.row = JobRecord(
            UUID(int=1000 + number), action, title, status,
            f"c-{number // 3}", chance.choice(["ann", "bob", "eve"]), "{}", (self.vm.ref,), started,
            over or started, over, result, chance.randrange(101), priority=chance.randrange(-3, 4),
            attention="stuck" if result is None and chance.random() < 0.3 else None,
            paused_by=chance.choice([None, None, "ann"]), visible=chance.random() < 0.8,
            restart_of=chance.choice([None, UUID(int=1000)]), schedule_id=chance.choice([None, None, UUID(int=7)]),
            change_no=number,
        )  # fmt: skip

    @property
    def rows(self) -> Iterator[Record]:
        row = self.row
        yield row
        if self.host is not None:
            ended: dict[str, Any] = (
                {"state": State.ENDED, "result": row.result, "ended_at": row.ended_at} if row.result else {}
            )
            yield CommandRecord(row.id, row.id, None, "c", row.action, 1, "{}", (), "t", 0, Role.FORWARD, "k", 0, (),
                                None, 1, False, row.started_at, **ended)  # fmt: skip
            yield TaskRecord(
                UUID(int=row.id.int + 10_000), row.id, row.id, "c", Role.FORWARD, None, 0, self.host.ref, "M", "{}", (),
                True, True, None, 1, False, row.started_at, TaskState.CLEARED, Outcome.SUCCEEDED,
                ended_at=row.started_at,
            )  # fmt: skip


def jobs(count: int, seed: int = 1) -> list[Job]:
    chance = random.Random(seed)
    return [Job(number, chance) for number in range(count)]


Holds = Callable[[Job], bool]


def _when(seconds: int) -> int:
    return NOW - seconds * SECOND


#: conditions, and what they mean; None in a comparison is what a job has not
CONDITIONS: tuple[tuple[str, Holds], ...] = (
    ("status = failed", lambda job: job.row.status is StepStatus.FAILED),
    ("status != FINISHED", lambda job: job.row.status is not StepStatus.FINISHED),
    ("status in (aborted, pending)", lambda job: job.row.status in (StepStatus.ABORTED, StepStatus.PENDING)),
    ("status = f*", lambda job: job.row.status in (StepStatus.FAILED, StepStatus.FINISHED)),
    ("status != *", lambda job: False),
    ("not status = *d", lambda job: not job.row.status.endswith("D")),
    ("result = cancelled", lambda job: job.row.result is Result.CANCELLED),
    ("result != succeeded", lambda job: job.row.result is not Result.SUCCEEDED),
    ("result is set", lambda job: job.row.result is not None),
    ("user = ann", lambda job: job.row.user == "ann"),
    ("user not in (ann, bob)", lambda job: job.row.user == "eve"),
    ("user = *b", lambda job: job.row.user == "bob"),
    ("action = vm.*", lambda job: job.row.action.startswith("vm.")),
    ("action in (vm.add, disk.copy)", lambda job: job.row.action in ("vm.add", "disk.copy")),
    ("title = Do*", lambda job: job.row.title.startswith("Do")),
    ("title = do*", lambda job: False),
    ("title = '*[50%]'", lambda job: job.row.title.endswith("[50%]")),
    (r"title = a_b\*c", lambda job: job.row.title == "a_b*c"),
    (r"title = '*b\*c'", lambda job: job.row.title == "a_b*c"),
    ("title = Ü*", lambda job: job.row.title == "Ümläut"),
    ("correlation_id = c-3", lambda job: job.row.correlation_id == "c-3"),
    ('started > "50 seconds ago"', lambda job: job.row.started_at > _when(50)),
    ('started <= "50 seconds ago"', lambda job: job.row.started_at <= _when(50)),
    ("ended >= 2026-01-01", lambda job: job.row.ended_at is not None and job.row.ended_at >= NOW),
    ("ended is not set", lambda job: job.row.ended_at is None),
    ("not ended < now", lambda job: job.row.ended_at is None or job.row.ended_at >= NOW),
    ("duration > 60s", lambda job: (job.row.ended_at or job.row.started_at) - job.row.started_at > 60 * SECOND),
    ("priority >= 2", lambda job: job.row.priority >= 2),
    ("priority = -1", lambda job: job.row.priority == -1),
    ("progress < 50", lambda job: job.row.progress < 50),
    ("attention is set", lambda job: job.row.attention is not None),
    ("paused = ann", lambda job: job.row.ended_at is None and job.row.paused_by == "ann"),
    ("paused != ann", lambda job: not (job.row.ended_at is None and job.row.paused_by == "ann")),
    ("hidden = yes", lambda job: not job.row.visible),
    (f"restart_of = {UUID(int=1000)}", lambda job: job.row.restart_of is not None),
    (f"schedule != {UUID(int=7)}", lambda job: job.row.schedule_id is None),
    (f"schedule = {UUID(int=7)}", lambda job: job.row.schedule_id is not None),
    ("vm.name = web*", lambda job: job.vm.name in ("web1", "web2")),
    ("vm.name = db1", lambda job: job.vm.name == "db1"),
    ("vm.name != db1", lambda job: job.vm.name != "db1"),
    ("vm.name = none", lambda job: False),
    (f"vm.id = {UUID(int=100)}", lambda job: job.vm.name == "web1"),
    ("entity.name = web2", lambda job: job.vm.name == "web2"),
    ("host.name = h1", lambda job: False),
    ("host = h1", lambda job: job.host is not None and job.host.name == "h1"),
    ("host != h1", lambda job: job.host is None or job.host.name != "h1"),
    ("web1", lambda job: job.vm.name == "web1" or job.row.title.startswith("web1") or job.row.correlation_id == "web1"),
)  # fmt: skip

#: orders, and their keys; what has none is not listed
SORTS: tuple[tuple[str, bool, Callable[[JobRecord], Any]], ...] = (
    ("", True, lambda row: row.started_at),
    ("sortby started", False, lambda row: row.started_at),
    ("sortby ended desc", True, lambda row: row.ended_at),
    ("sortby title asc", False, lambda row: row.title),
    ("sortby priority desc", True, lambda row: row.priority),
    ("sortby id", False, lambda row: row.id),
    ("sortby result desc", True, lambda row: row.result),
)


def query(chance: random.Random) -> tuple[str, Holds, Callable[[list[Job]], list[UUID]]]:
    """A query, what it means for a job, and in which order it lists those."""
    text, holds = _tree(chance, chance.randrange(3))
    sort, descending, key = chance.choice(SORTS)
    if "hidden" not in text:
        inner = holds
        holds = lambda job: job.row.visible and inner(job)  # noqa: E731

    def listed(found: list[Job]) -> list[UUID]:
        keyed = [(key(job.row), job.row.id) for job in found if key(job.row) is not None]
        return [id for _, id in sorted(keyed, reverse=descending)]

    return f"{text} {sort}", holds, listed


def _tree(chance: random.Random, depth: int) -> tuple[str, Holds]:
    kind = chance.choice(["and", "and", "or", "not", "leaf"]) if depth else "leaf"
    if kind == "leaf":
        return chance.choice(CONDITIONS)
    text, holds = _tree(chance, depth - 1)
    if kind == "not":
        return f"not ({text})", lambda job: not holds(job)
    other, also = _tree(chance, depth - 1)
    if kind == "and":
        return f"({text}) and ({other})", lambda job: holds(job) and also(job)
    return f"({text}) or ({other})", lambda job: holds(job) or also(job)
