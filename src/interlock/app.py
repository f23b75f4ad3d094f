"""The composition root: puts database, coordinator, hosts and API together, and starts agents."""

import asyncio
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from interlock.config import ServeConfig
from interlock.model.errors import InterlockError

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.catalog import Catalog

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CannotServe(Exception):
    """What was asked cannot be started; the message says why and what to do."""


def serve(config: ServeConfig) -> None:
    """Runs a coordinator and its API until SIGTERM or SIGINT; prints one line when it is ready.

    Raises CannotServe, as where another process owns the state folder.
    """
    from sqlalchemy.exc import DatabaseError  # late, as everything here: each command loads only its own part

    from interlock import logs

    logs.configure(json_lines=config.log_json)
    catalog = load_catalog(config.catalog)
    _make_state_folder(config.state)
    try:
        asyncio.run(_serve(config, catalog))
    except InterlockError as error:
        raise CannotServe(str(error)) from error
    except DatabaseError as error:
        raise CannotServe(f"the database cannot be used: {error.orig}") from error


async def _serve(config: ServeConfig, catalog: "Catalog") -> None:
    from interlock.coordinator.coordinator import Coordinator
    from interlock.coordinator.settings import Settings
    from interlock.coordinator.watched import Patience
    from interlock.model.retention import DAY_S, Retention
    from interlock.rest.api import create_app
    from interlock.rest.serving import listen
    from interlock.rest.serving import serve as serve_api

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    settings = Settings(
        sets_max=config.group_commit_max,
        patience=Patience(poll_s_min=config.poll_s),
        tls_dir=_coordinator_certificate(config),
        plain_hosts=config.plain_hosts,
        key_file=config.key,
        retention=Retention(
            config.keep_succeeded_days * DAY_S,
            config.keep_failed_days * DAY_S,
            {name: days * DAY_S for name, days in config.keep_days.items()},
        ),
        archive_dir=config.archive,
    )
    url = config.database_url or _url(config.database)
    try:
        async with Coordinator.open(url, catalog, settings=settings) as coordinator:
            # whoever owns the database owns the socket: one that lies there is of a server that is gone
            try:
                listener = listen(config.socket)
            except OSError as error:
                raise CannotServe(
                    f"cannot listen on {config.socket}: {error}; choose a state folder with a shorter path "
                    "on a local file system"
                ) from error
            calm_garbage_collector()
            coordinator.failed.add_done_callback(lambda _: stop.set())
            api = create_app(coordinator, catalog=catalog)
            try:
                await serve_api(api, listener, stop=stop, ready=lambda: _ready(config))
            finally:
                config.socket.unlink(missing_ok=True)
            if coordinator.failed.done():
                raise CannotServe(f"the coordinator had to stop: {coordinator.failed.exception()}")
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def calm_garbage_collector() -> None:
    """What is loaded by now stays: it need not be looked through again and again (a tenth of the CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _ready(config: ServeConfig) -> None:
    print(f"interlock: ready on {config.socket}", flush=True)


def _url(database: "Path | str") -> str:
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(database)).render_as_string()


def _make_state_folder(state: "Path") -> None:
    """The folder, for nobody else's eyes; raises CannotServe."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as error:
        raise CannotServe(f"cannot use {state} as the state folder: {error.strerror}") from error


def load_catalog(name: str) -> "Catalog":
    """The catalog that `module:name` names; raises CannotServe."""
    from interlock.catalog import Catalog

    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise CannotServe(f"{name!r} does not name a catalog; write module:name")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that nothing installed is hidden
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever somebody's module does when it is loaded
        raise CannotServe(
            f"the catalog {name} cannot be loaded: {type(error).__name__}: {error} ({_place(error)})"
        ) from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Catalog):
        raise CannotServe(f"{name} is not a catalog; {module_name} must have {attribute} = Catalog(…)")
    return found


def _place(error: Exception) -> str:
    """Where an exception was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"


def _coordinator_certificate(config: ServeConfig) -> "Path":
    """The folder with the certificate that hosts ask of us, issued at the first start."""
    folder = config.pki / "coordinator"
    if not (folder / "ca.pem").exists():  # the last of the three that is written
        _open_authority(config).issue_coordinator(folder)
    return folder


def issue_host_certificate(config: ServeConfig, name: str, addresses: Sequence[str], out: "Path") -> None:
    """Writes `ca.pem, cert.pem, key.pem` for a host's agent into `out`.

    Raises ValueError for a wrong name or address, CannotServe where the files cannot be read or written.
    """
    _make_state_folder(config.state)
    try:
        _open_authority(config).issue_host(name, addresses, out)
    except OSError as error:
        raise CannotServe(f"cannot write the certificate to {out}: {error.strerror}") from error


def _open_authority(config: ServeConfig) -> Any:  # Authority, whose module is loaded late
    from interlock.wire.authority import Authority, AuthorityUnusable

    try:
        return Authority.open(config.pki)
    except (AuthorityUnusable, OSError) as error:
        raise CannotServe(f"the certificate authority in {config.pki} cannot be used: {error}") from error


def verify_database(database: str, *, noted_digest: str | None = None) -> dict[str, Any]:
    """What `GET /verify` answers, from a database itself (its file or URL), whether a server runs on it or not.

    Raises CannotServe where there is no database that this code can read.
    """
    from sqlalchemy.exc import DatabaseError

    from interlock.rest.action_routes import verified
    from interlock.store.database import Database

    is_url = "://" in database
    if not is_url and not os.access(database, os.R_OK):
        raise CannotServe(f"cannot read {database}; check the path and whose it is")
    try:
        with Database.open_reading(database if is_url else _url(database)) as opened, opened.reading() as connection:
            return verified(connection, noted_digest=noted_digest)
    except InterlockError as error:
        raise CannotServe(str(error)) from error
    except DatabaseError as error:
        name = "the database" if is_url else database
        raise CannotServe(f"{name} cannot be verified: {error.orig}; name the database of a server") from error


def back_up(config: ServeConfig, target: "Path") -> None:
    """Writes a backup of a server's database into a new file, while it runs or not. Raises CannotServe."""
    from interlock.store.backups import back_up

    with _told():
        back_up(config.database_url or _url(config.database), target)


def restore(config: ServeConfig, source: "Path | None") -> int:
    """Puts a backup in the place of a server's database; without one, says of the database that is there that it came
    from one. Returns how many jobs now wait for a person. Raises CannotServe."""
    from interlock.clock import SystemClock
    from interlock.store.backups import restore

    _make_state_folder(config.state)
    with _told():
        url = config.database_url or _url(config.database)
        return restore(url, SystemClock().now_us(), source).open_flows


@contextmanager
def _told() -> Iterator[None]:
    """Errors as CannotServe."""
    import sqlite3

    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except (InterlockError, OSError, sqlite3.Error) as error:
        raise CannotServe(str(error)) from error
    except DatabaseError as error:
        raise CannotServe(f"this is no database of Interlock: {error.orig}") from error


def agent(arguments: Sequence[str], *, epilog: str) -> int:
    """Runs a host's agent with its own options; returns its exit status. `epilog` ends its help."""
    from interlock.agent.main import main

    try:
        return main(arguments, prog="interlock agent", epilog=epilog)
    except SystemExit as end:  # argparse: help, or a wrong option
        return end.code if isinstance(end.code, int) else 0


class CannotAsk(Exception):
    """The agent of this host has not answered, or has refused; the message says why and what to do."""

    def __init__(self, message: str, *, is_denied: bool, is_unknown: bool) -> None:
        super().__init__(message)
        #: this user may not ask
        self.is_denied = is_denied
        #: it may have been done, or how it ended cannot be known any more
        self.is_unknown = is_unknown


def ask_agent(state_dir: "Path", method: str, **params: Any) -> Any:
    """What the agent of that state folder answers. Raises CannotAsk."""
    from interlock.agent.serving.asking import ask

    return _answer(ask(state_dir, method, params))


def change_task(
    state_dir: "Path",
    method: str,
    tell: Callable[[Mapping[str, Any]], None],
    *,
    timeout_s: float | None = None,
    **params: Any,
) -> Any:
    """Asks the agent for a change of a task and waits for its end: the task as it is then.

    `tell` gets it whenever it looks different. Raises CannotAsk, and TimeoutError where that takes longer than
    `timeout_s`; then, and at Ctrl-C, the change goes on.
    """
    from interlock.agent.serving.asking import change

    return _answer(change(state_dir, method, params, tell, timeout_s=timeout_s))


def _answer(asking: Coroutine[Any, Any, Any]) -> Any:
    from interlock.agent.serving.asking import NoAnswer, Why

    try:
        return asyncio.run(asking)
    except NoAnswer as error:
        raise CannotAsk(
            str(error), is_denied=error.why is Why.DENIED, is_unknown=error.why in (Why.UNKNOWN, Why.GONE)
        ) from None


def agent_state_dir(config: "Path") -> "Path":
    """The state folder that an agent's configuration file names. Raises ValueError."""
    from interlock.agent.settings.config import BadConfig
    from interlock.agent.settings.configuring import state_dir_in

    try:
        return state_dir_in(config)
    except BadConfig as error:
        raise ValueError(str(error)) from None
