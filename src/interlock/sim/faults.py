"""What goes wrong: faults that a seed plans beforehand, each with when it happens and how often it truly did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from sqlalchemy.exc import OperationalError

from interlock.sim.network import Fate
from interlock.sim.timeline import Timeline


class Kind(StrEnum):
    """Faults, in groups by what brings them about."""

    # at the n-th commit of the coordinator
    KILLED_BEFORE_COMMIT = "the coordinator is killed before a commit"
    KILLED_AFTER_COMMIT = "the coordinator is killed after a commit"
    COMMIT_FAILS = "the database fails at a COMMIT, which did not happen"
    COMMIT_UNKNOWN = "the database fails at a COMMIT, which did happen"
    # at the n-th statement of the coordinator within a transaction
    DATABASE_LOST = "the database ends a session in the middle of a transaction"
    # at the n-th call of the coordinator to a host by which something changes
    KILLED_BEFORE_CALL = "the coordinator is killed before a call to a host"
    KILLED_AFTER_CALL = "the coordinator is killed after a call to a host"
    CALL_LATE = "a call to a host arrives later than anybody waits"
    CALL_OUTLIVES = "the coordinator is killed, and its call arrives when another has taken over"
    REINSTALLED = "the coordinator is killed after a call to a host, which is installed anew meanwhile"
    # at the n-th start that is sent to a host, or that a host has taken
    START_ADRIFT = "the connection breaks under a start, which arrives later nevertheless"
    START_AGAIN = "a start comes again and again, also when what it began is over"
    FORMER_OWNER = "the coordinator is killed, and its start comes again and again when another has taken over"
    # at the n-th commit of a coordinator that was started again
    KILLED_IN_RECOVERY = "the coordinator is killed at a commit of its recovery"
    # at the n-th answer about all tasks
    SAYS_RUNNING = "a host says that a task which has ended still runs"
    LEAVES_OUT = "a host leaves out a task that it has"
    SAYS_OTHER_CODE = "a host says a code that is not that of the result"
    # at the n-th effect on a host
    AGENT_KILLED_AT_EFFECT = "an agent is killed between an effect and its journal's line"
    AGENT_KILLED_AT_ONCE = "an agent is killed between an effect that nobody may repeat and its journal's line"
    # at the n-th write of an agent's journal
    AGENT_KILLED_BEFORE_WRITE = "an agent is killed before a write of its journal"
    AGENT_KILLED_AFTER_WRITE = "an agent is killed after a write of its journal"
    # at a time
    KILLED = "the coordinator is killed"
    STOPPED = "the coordinator is stopped in good order"
    STANDS_STILL = "the coordinator stands still"
    CLOCK_JUMPS = "the coordinator's clock jumps by an hour"
    CLOCK_FREEZES = "the coordinator's wall clock stands still"
    CLOCK_DRIFTS = "the coordinator's wall clock is too fast"
    DISK_FULL = "the coordinator's disk is full"
    DATABASE_DOWN = "the database ends all sessions, and lets nobody in for a while"
    AGENT_KILLED = "an agent is killed"
    AGENT_STANDS_STILL = "an agent stands still"
    AGENT_CLOCK_JUMPS = "an agent's clock jumps by an hour"
    JOURNAL_LOST = "a host is installed anew: its journal is lost"
    HOST_SLOW = "a host becomes a hundred times slower"
    ONE_WAY = "nothing gets through in one direction"
    PARTITION = "nothing gets through between the coordinator and a host"
    FLAPPING = "the network comes and goes"
    # when an agent dies
    JOURNAL_TORN = "what was not fsynced of a journal is there in part"
    # in phases, as specs say
    PHASE_RAISES = "a phase raises an exception, or runs out of stack or memory"
    # at the n-th message
    LOST = "a message is lost"
    TWICE = "a message arrives twice"
    OVERTAKEN = "a message is overtaken by the next"
    LATE = "a message is late beyond every time-out"
    CUT = "a connection is cut within a message"
    GARBAGE = "garbage arrives instead of a message"

    @property
    def is_at_a_hit(self) -> bool:
        """Whether it comes at the n-th of something, not at a time."""
        return any(self in kinds for kinds, _ in WITHIN)


AT_COMMIT = (Kind.KILLED_BEFORE_COMMIT, Kind.KILLED_AFTER_COMMIT, Kind.COMMIT_FAILS, Kind.COMMIT_UNKNOWN)
AT_STATEMENT = (Kind.DATABASE_LOST,)
AT_RECOVERY = (Kind.KILLED_IN_RECOVERY,)
AT_CALL = (
    Kind.KILLED_BEFORE_CALL,
    Kind.KILLED_AFTER_CALL,
    Kind.CALL_LATE,
    Kind.CALL_OUTLIVES,
    Kind.REINSTALLED,
)
AT_SENDING = (Kind.START_ADRIFT,)
AT_TAKING = (Kind.START_AGAIN, Kind.FORMER_OWNER)
AT_ANSWER = (Kind.SAYS_RUNNING, Kind.LEAVES_OUT)
AT_ENDS = (Kind.SAYS_OTHER_CODE,)
AT_EFFECT = (Kind.AGENT_KILLED_AT_EFFECT,)
AT_ONCE = (Kind.AGENT_KILLED_AT_ONCE,)
AT_WRITE = (Kind.AGENT_KILLED_BEFORE_WRITE, Kind.AGENT_KILLED_AFTER_WRITE)
AT_MESSAGE = {
    Kind.LOST: Fate.LOST,
    Kind.TWICE: Fate.TWICE,
    Kind.OVERTAKEN: Fate.OVERTAKEN,
    Kind.LATE: Fate.LATE,
    Kind.CUT: Fate.CUT,
    Kind.GARBAGE: Fate.GARBAGE,
}
#: what nobody plans: it comes with others
UNPLANNED = (Kind.JOURNAL_TORN, Kind.PHASE_RAISES)
#: within how many hits the faults at hits come, the early ones more often
WITHIN = (
    (AT_COMMIT, 60),
    (AT_STATEMENT, 400),
    (AT_RECOVERY, 6),
    (AT_CALL, 25),
    (AT_SENDING, 8),
    (AT_TAKING, 8),
    (AT_ANSWER, 60),
    (AT_ENDS, 4),
    (AT_EFFECT, 8),
    (AT_ONCE, 3),
    (AT_WRITE, 40),
    (tuple(AT_MESSAGE), 300),
)
PLANNED = tuple(kind for kind in Kind if kind not in UNPLANNED)
#: how many faults one run has at most
FAULTS_MAX = 8
#: how many of those that come at a time come about so soon after somebody has asked for something
SOON_SHARE, SOON_S = 0.7, 3.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: at the n-th hit, or at a time, on that host, for so long."""

    kind: Kind
    nth: int = 0
    at_s: float = 0.0
    host: int = 0
    for_s: float = 0.0

    def __str__(self) -> str:
        when = f"number {self.nth}" if self.nth else f"at {self.at_s:.3f} s for {self.for_s:.1f} s"
        return f"{self.kind.name} ({self.kind.value}): {when}, host {self.host}"


def planned(chance: Random, until_s: float, hosts: int, asked_s: Sequence[float]) -> list[Fault]:
    """The faults of one run, many of them soon after people have asked for something: then there is work to harm."""
    count = chance.randint(0, FAULTS_MAX)
    return [_fault(chance, chance.choice(PLANNED), until_s, hosts, asked_s) for _ in range(count)]


def _fault(chance: Random, kind: Kind, until_s: float, hosts: int, asked_s: Sequence[float]) -> Fault:
    host = chance.randrange(hosts)
    for kinds, most in WITHIN:
        if kind in kinds:
            return Fault(kind, nth=1 + int(most * chance.random() ** 2), host=host)
    at_s = chance.uniform(0, until_s)
    if chance.random() < SOON_SHARE:
        at_s = min(until_s, chance.choice(asked_s) + chance.expovariate(1 / SOON_S))
    return Fault(kind, at_s=at_s, host=host, for_s=chance.choice((0.5, 8.0, 40.0, 100.0)))


class Faults:
    """Brings them about, as failpoints are hit and messages sent, and counts those that truly happened."""

    def __init__(self, timeline: Timeline, faults: Iterable[Fault], told: Callable[[str, str], None]) -> None:
        self._timeline = timeline
        self._told = told
        self._due = {(fault.kind, fault.nth): fault for fault in faults if fault.nth}
        self._hits: Counter[str] = Counter()
        self.fired: Counter[Kind] = Counter()
        self._blocked: dict[tuple[str, str], float] = {}
        #: after that nothing goes wrong any more
        self.is_over = False
        self._next_of: dict[str, Fate] = {}

    def hit(self, what: str, *kinds: Kind) -> Kind | None:
        """Counts a hit; the fault that is due at it."""
        self._hits[what] += 1
        for kind in kinds:
            fault = self._due.get((kind, self._hits[what]))
            if fault is not None and not self.is_over:
                self.happened(kind, what)
                return kind
        return None

    def happened(self, kind: Kind, where: str) -> None:
        self.fired[kind] += 1
        self._told("fault", f"{kind.name} at {where}")

    # the weather -------------------------------------------------------------------------------------

    def meet_next_of(self, origin: str, fate: Fate) -> None:
        """Says what becomes of the next message of a process."""
        self._next_of[origin] = fate

    def fate(self, origin: str, target: str, data: bytes) -> Fate:
        if origin in self._next_of:
            return self._next_of.pop(origin)
        kind = self.hit("message", *AT_MESSAGE)
        return Fate.ARRIVES if kind is None else AT_MESSAGE[kind]

    def blocked_until_s(self, origin: str, target: str) -> float:
        return self._blocked.get((origin, target), 0.0)

    def block(self, origin: str, target: str, for_s: float) -> None:
        """Nothing gets through from the one to the other, for so long."""
        self._blocked[origin, target] = max(self.blocked_until_s(origin, target), self._timeline.now_s + for_s)

    def heal(self) -> None:
        """Nothing goes wrong any more, and every way is open."""
        self.is_over = True
        self._blocked.clear()


def database_error(words: str) -> OperationalError:
    """What SQLAlchemy makes of an error of the disk."""
    return OperationalError("COMMIT", {}, Exception(words))
