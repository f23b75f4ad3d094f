"""A server of the fleet: `python web_server.py FOLDER` answers on loopback with the release that FOLDER/current shows.

`/` is for customers, `/busy` says how many of them are being answered, `/health` whether the release that the link
points to now is loaded and well. Loading takes a moment, in which customers still get the release of before.
A release that needs more memory than FOLDER/memory_mb has is not well. It ends when whoever started it is gone.
"""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOADING_S = 0.1


class Site:
    """What the server shows, and how it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._busy = 0
        self._page, self._fault, self._loaded = b"", "nothing is loaded", ""

    def load_for_ever(self) -> None:
        """Follows the link: what it newly points to is loaded."""
        while True:
            release = os.readlink(self._folder / "current")
            if release != self._loaded:
                time.sleep(LOADING_S)
                self._load(Path(release))
            time.sleep(LOADING_S / 10)

    def _load(self, release: Path) -> None:
        has, needs = int((self._folder / "memory_mb").read_text()), int((release / "needs_mb").read_text())
        fault = "" if needs <= has else f"release {release.name} needs {needs} MB of memory, there are {has}"
        with self._lock:
            self._page, self._fault, self._loaded = (release / "index.html").read_bytes(), fault, str(release)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        with self._lock:
            page, fault, loaded = self._page, self._fault, self._loaded
        if path == "/busy":
            return 200, str(self._busy).encode()
        if path == "/health" and loaded != os.readlink(self._folder / "current"):
            return 503, b"the release is being loaded"
        if fault:
            return 503, fault.encode()
        return (200, Path(loaded).name.encode()) if path == "/health" else self._to_customer(page)

    def _to_customer(self, page: bytes) -> tuple[int, bytes]:
        with self._lock:
            self._busy += 1
        time.sleep(LOADING_S / 10)  # people are slow readers
        with self._lock:
            self._busy -= 1
        return 200, page


def main(folder: Path) -> None:
    """Serves until its standard input ends."""
    site = Site(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = site.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for work in (site.load_for_ever, server.serve_forever):
        threading.Thread(target=work, daemon=True).start()
    aside = folder / "port.new"
    aside.write_text(str(server.server_port))
    aside.rename(folder / "port")
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
