"""Workers: threads that run flows over read connections; one that is stuck in a phase is replaced."""

from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from interlock.clock import Clock
from interlock.coordinator.work import Work
from interlock.store.database import Database, let_go
from interlock.threads import Queue, Thread, Threads

#: a run that lasts longer no longer counts as a worker's, and is named
OVERDUE_S = 5.0
#: how many threads there may be at most, stuck ones included
THREADS_MAX = 24
#: how long each thread is waited for at the end
JOIN_S = 5.0

Ran = Callable[[Work, BaseException | None], None]

_log = structlog.get_logger(__name__)


class Workers:
    """`put` gives work; `ran` is called in a worker's thread with the work and what it raised."""

    def __init__(self, database: Database, clock: Clock, threads: Threads, ran: Ran, count: int) -> None:
        self._database = database
        self._start = threads.start
        self._clock = clock
        self._ran = ran
        self._count = count
        self._queue: Queue[Work | None] = threads.queue()
        self._threads: list[Thread] = []
        self._running: dict[int, tuple[Work, float]] = {}
        self._overdue: set[int] = set()

    def start(self) -> None:
        for _ in range(self._count):
            self._add()

    def put(self, work: Work) -> None:
        self._queue.put(work)

    def overdue(self) -> list[Work]:
        """The runs that have become overdue since the last call; others take the place of their workers."""
        now_s = self._clock.monotonic_s()
        late = [
            (thread, work)
            for thread, (work, since_s) in list(self._running.items())
            if now_s - since_s > OVERDUE_S and id(work) not in self._overdue
        ]
        for _, work in late:
            self._overdue.add(id(work))
            if len(self._threads) < THREADS_MAX:
                self._add()
        return [work for _, work in late]

    def stop(self) -> None:
        """Ends the threads; one that is stuck in a phase is left behind, and can no longer commit anything."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                _log.warning("worker_left_behind", thread=thread.name)

    def _add(self) -> None:
        me = len(self._threads)
        self._threads.append(self._start(f"interlock-worker-{me}", lambda: self._work(me)))

    def _work(self, me: int) -> None:
        connection: Connection | None = None
        while (work := self._queue.get()) is not None:
            self._running[me] = (work, self._clock.monotonic_s())
            error: BaseException | None = None
            try:
                connection = connection or self._database.reader()
                work.change_set = work.run(connection)
            except BaseException as raised:  # a phase may raise SystemExit, and this thread must not end
                error = raised
            finally:
                del self._running[me]
                self._overdue.discard(id(work))
                if connection is not None:
                    let_go(connection)
            self._ran(work, error)
        if connection is not None:
            connection.close()
