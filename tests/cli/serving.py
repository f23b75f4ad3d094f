"""The API on a real Unix socket in a thread, over hand-made rows: what the command line talks to."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from interlock.rest.api import create_app
from interlock.rest.serving import listen, serve
from tests.databases import new_file
from tests.rest.fake import CATALOG, FakeCoordinator
from tests.views import picture

WAIT_S = 10.0


class Server:
    """Runs from `start` to `stop`; may be started again on the same socket."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self.database = picture.paint(new_file(folder / "state.db"))
        self.coordinator: FakeCoordinator
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Returns when it answers."""
        ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(ready),))
        self._thread.start()
        assert ready.wait(WAIT_S)

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.coordinator = FakeCoordinator(self.database)
        app = create_app(self.coordinator, catalog=CATALOG, user="ann")
        await serve(app, listen(self.socket), stop=self._stop, ready=ready.set)

    def when_waited_for(self, happens: Callable[[], None]) -> None:
        """Lets something happen, once, as soon as a client waits for news; then says that there are news."""

        def act() -> None:
            assert asyncio.run_coroutine_threadsafe(self.coordinator.waited.wait(), self._loop).result(WAIT_S)
            happens()
            self._loop.call_soon_threadsafe(self.coordinator.news.set)

        threading.Thread(target=act).start()

    def stop(self) -> None:
        """Returns when it has stopped."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(WAIT_S)
            assert not self._thread.is_alive()
            self._thread = None

    def close(self) -> None:
        self.stop()
        self.database.close()
