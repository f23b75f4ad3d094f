"""Starting: the server, and a host's certificate."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.context import examples
from interlock.cli.databases import Database, refuse_typed_password
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import write
from interlock.config import DEFAULT_CATALOG, ServeConfig
from interlock.model.retention import DAYS_MAX

STATE_DEFAULT = Path("interlock-state")
State = Annotated[Path, typer.Option(help="The server's folder: database, keys, socket.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        "serve",
        epilog=examples(
            "interlock serve",
            "interlock serve --state /var/lib/interlock --log-json",
            "interlock serve --keep-succeeded 2 --keep host.scan=0.5 --archive /var/lib/interlock/archive",
            "interlock serve --database postgresql://interlock@db.example.org/interlock",
        ),
    )(serve)
    app.command(
        "host-certificate",
        epilog=examples("interlock host-certificate h1.example.org 192.0.2.7 --out h1-tls"),
    )(host_certificate)


def serve(
    ctx: typer.Context,
    state: State = STATE_DEFAULT,
    database: Database = None,
    catalog: Annotated[str, typer.Option(help="What can be run, as module:name.")] = DEFAULT_CATALOG,
    plain_hosts: Annotated[
        bool, typer.Option("--plain-hosts", help="No TLS to hosts; loopback addresses only.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
    poll: Annotated[
        float, typer.Option(help="Seconds between two looks at a host's tasks while they change.", min=0.05, max=60)
    ] = 1.0,
    group_commit: Annotated[
        int, typer.Option(help="How many flows' writes share a transaction at most.", min=1, max=4096)
    ] = 512,
    keep_succeeded: Annotated[
        float, typer.Option(help="For how many days jobs that succeeded are kept.", min=0, max=DAYS_MAX)
    ] = 7.0,
    keep_failed: Annotated[
        float,
        typer.Option(
            help="For how many days jobs are kept that failed, were cancelled, or ended with leftovers or warnings.",
            min=0,
            max=DAYS_MAX,
        ),
    ] = 30.0,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND=DAYS", help="For how many days jobs of a command are kept, however they ended."),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(help="A folder: jobs are written there before they are removed, a file a day of JSON lines."),
    ] = None,
) -> None:
    """Run the coordinator and answer on a Unix socket in the state folder; SIGTERM or Ctrl-C ends it."""
    from interlock import app  # late: everything hangs from it

    refuse_typed_password(ctx, database)
    try:
        app.serve(
            ServeConfig(
                state,
                catalog,
                plain_hosts,
                log_json,
                poll,
                group_commit,
                database_url=database,
                keep_succeeded_days=keep_succeeded,
                keep_failed_days=keep_failed,
                keep_days=dict(map(_days, keep or ())),
                archive=archive,
            )
        )
    except app.CannotServe as error:
        raise Stop(Exit.FAILED, str(error)) from None


def _days(word: str) -> tuple[str, float]:
    name, equals, days = word.partition("=")
    try:
        found = float(days)
    except ValueError:
        found = -1.0
    if not name or not equals or not 0 <= found <= DAYS_MAX:
        raise Stop(
            Exit.USAGE, f"--keep {word!r} is no COMMAND=DAYS; write it as host.scan=1, with 0 to {DAYS_MAX} days"
        )
    return name, found


def host_certificate(
    name: Annotated[str, typer.Argument(help="The host's name, which its certificate bears.", show_default=False)],
    addresses: Annotated[
        list[str] | None, typer.Argument(help="Its IP addresses.", metavar="[ADDRESS]...", show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The folder that gets ca.pem, cert.pem, key.pem.", show_default=False)
    ] = ...,  # type: ignore[assignment]  # Typer's word for a required option
    state: State = STATE_DEFAULT,
) -> None:
    """Issue the certificate with which a host's agent serves; copy the folder to that host."""
    from interlock import app

    try:
        app.issue_host_certificate(ServeConfig(state), name, addresses or (), out)
    except app.CannotServe as error:
        raise Stop(Exit.FAILED, str(error)) from None
    except ValueError as error:
        raise Stop(Exit.USAGE, str(error)) from None
    write(f"wrote ca.pem, cert.pem and key.pem to {out}")
