"""What the rolling change does outside of the database: local functions, each safe to run again after a crash."""

import fcntl
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ANSWER_S_MAX = 2.0
#: whoever looked into the balancer just before still comes within this time
GRACE_S = 0.1
DRAIN_S_MAX = 5.0
POLL_S = 0.02


def take_out(balancer: str, server: str) -> None:
    """The server gets no more traffic."""
    with _listed(Path(balancer)) as servers:
        servers.discard(server)


def put_back(balancer: str, server: str) -> None:
    """The server gets traffic."""
    with _listed(Path(balancer)) as servers:
        servers.add(server)


@contextmanager
def _listed(balancer: Path) -> Iterator[set[str]]:
    """Who is in the balancer, to be changed; one at a time, and seen by others whole."""
    with balancer.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        servers = set(balancer.read_text().split())
        yield servers
        _replace(balancer, "\n".join(sorted(servers)))


def drain(server: str) -> None:
    """Waits until the server answers nobody any more. Raises TimeoutError."""
    until = time.monotonic() + DRAIN_S_MAX
    time.sleep(GRACE_S)
    while (busy := ask(server, "/busy")) != "0":
        if time.monotonic() > until:
            raise TimeoutError(f"{server} still answers {busy} customers after {DRAIN_S_MAX:g} s")
        time.sleep(POLL_S)


def check_health(server: str, release: str) -> None:
    """Raises RuntimeError unless the server is well, with that release."""
    if (loaded := ask(server, "/health")) != release:
        raise RuntimeError(f"{server} has release {loaded}, not {release}")


def ask(server: str, path: str) -> str:
    """What a server answers. Raises RuntimeError with what it says where it is not well."""
    port = int((Path(server) / "port").read_text())
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_S_MAX) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            raise RuntimeError(f"{Path(server).name}: {error.read().decode()}") from None


def point_at(server: str, release: str) -> None:
    """The server's link shows that release, from one moment to the next."""
    link = Path(server) / "current"
    aside = link.with_suffix(".new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(release)
    os.replace(aside, link)


def fetch(mirror: str, release: str) -> None:
    """Copies the release from a mirror; it is there whole, or not at all. Raises FileNotFoundError."""
    source, target = Path(mirror) / Path(release).name, Path(release)
    if not source.is_dir():
        raise FileNotFoundError(f"mirror {Path(mirror).name} has no release {source.name}")
    if target.is_dir():
        return
    aside = target.with_suffix(".new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside)
    aside.rename(target)


def discard(release: str) -> None:
    """Removes the release; nothing happens where there is none."""
    shutil.rmtree(release, ignore_errors=True)


def keep_only(releases: str, keep: Iterable[str]) -> None:
    """Removes every release but those."""
    for folder in Path(releases).iterdir():
        if folder.name not in keep:
            shutil.rmtree(folder)


def write_down(file: str, text: str) -> None:
    """The file says that, and nothing else."""
    _replace(Path(file), text)


def _replace(file: Path, text: str) -> None:
    aside = file.with_suffix(".new")
    aside.write_text(text)
    aside.rename(file)
