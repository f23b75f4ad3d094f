"""An event loop of one simulated process: asyncio's own tasks and futures, on virtual time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from interlock.sim.network import Listener, Network, Transport
from interlock.sim.threads import SimQueue, SimThreads
from interlock.sim.timeline import Killed, Timeline

if TYPE_CHECKING:
    from interlock.sim.process import Process

Factory = Callable[[], asyncio.Protocol]
Job = Callable[[], None]


class Loop(asyncio.BaseEventLoop):
    """What asyncio, and the code under test, ask of a loop. Whatever is to be called is put on the timeline, in the
    order in which it was asked for; threads are those of `threads`, connections those of `network`."""

    # `Any` below: asyncio's own signatures

    def __init__(self, timeline: Timeline, process: Process, network: Network, threads: SimThreads) -> None:
        super().__init__()
        self._timeline = timeline
        self._process = process
        self._network = network
        self._sim_threads = threads
        self._lines: dict[ThreadPoolExecutor, SimQueue[Job]] = {}
        #: tasks of a process that was killed must not be closed by the garbage collector before the run is over
        self._kept: list[asyncio.Task[Any]] = []

    def __del__(self) -> None:
        """Nothing of it has to be closed."""

    def run(self, happen: Callable[[], None]) -> None:
        """Lets something happen in this loop."""
        asyncio._set_running_loop(self)
        try:
            happen()
        finally:
            asyncio._set_running_loop(None)

    def begin(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs the program of the process."""
        self.create_task(main, name="main").add_done_callback(self._main_over)

    def _main_over(self, main: asyncio.Task[Any]) -> None:
        if not main.cancelled() and (error := main.exception()) is not None:
            self._process.fail(f"ended with {error!r}", error)
        else:
            self._process.kill()

    # time --------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._timeline.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._timeline.after(0, self._process, partial(_call, handle))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timeline.at(when, self._process, partial(_call, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left on the timeline, and does nothing there."""

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # of a process that was killed
        self._kept.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed):
            self._process.fail(f"{context['message']}: {error!r}", error)

    # threads -----------------------------------------------------------------------------------------

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        work = partial(self._in_thread, done, partial(func, *args))
        if isinstance(executor, ThreadPoolExecutor) and executor._max_workers == 1:
            self._line(executor).put(work)
        else:
            self._sim_threads.start("executor", work)
        return done

    def _in_thread(self, done: asyncio.Future[Any], function: Callable[[], Any]) -> None:
        try:
            result = function()
        except Killed:
            raise
        except BaseException as error:
            self.call_soon(_fail, done, error)
        else:
            self.call_soon(_succeed, done, result)

    def _line(self, executor: ThreadPoolExecutor) -> SimQueue[Job]:
        """What the one thread of an executor has still to do."""
        line = self._lines.get(executor)
        if line is None:
            line = self._lines[executor] = self._sim_threads.queue()

            def work() -> None:
                while True:
                    line.get()()

            self._sim_threads.start("executor", work)
        return line

    # network -----------------------------------------------------------------------------------------

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (str(host), port))]

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Factory, host: str, port: int, **_: Any
    ) -> tuple[Transport, asyncio.Protocol]:
        return await self._network.connect(self._process, protocol_factory, (host, port))

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Factory, host: list[str], port: int, **_: Any
    ) -> Listener:
        return self._network.listen(self._process, protocol_factory, (host[0], port))


def _call(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()


def _succeed(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
