"""Backups: making one while the server runs, and restoring one so that hosts know it for what it is."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.context import examples
from interlock.cli.databases import Database, refuse_typed_password
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import write
from interlock.cli.server_commands import STATE_DEFAULT, State
from interlock.config import ServeConfig


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("backup", epilog=examples("interlock backup monday.db", "interlock backup monday.db --state /srv/i"))(
        backup
    )
    app.command(
        "restore",
        epilog=examples(
            "interlock restore monday.db",
            "interlock restore --in-place --database postgresql://interlock@db.example.org/interlock",
        ),
    )(restore)


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.", show_default=False)],
    state: State = STATE_DEFAULT,
    database: Database = None,
) -> None:
    """Write a backup of the database, whether a server runs on it or not; SQLite only, as PostgreSQL has pg_dump.

    The key that seals secrets (state.db.key) and the certificates (pki) are not in it: keep copies of them elsewhere.
    """
    from interlock import app  # late: brings the database's code

    refuse_typed_password(ctx, database)
    try:
        app.back_up(ServeConfig(state, database_url=database), file)
    except app.CannotServe as error:
        raise Stop(Exit.FAILED, str(error)) from None
    write(f"wrote {file}; the key of its secrets is not in it")


def restore(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="What `interlock backup` has written.", show_default=False),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="The database was put back by other means already; only mark it.")
    ] = False,
    state: State = STATE_DEFAULT,
    database: Database = None,
) -> None:
    """Put a backup in the place of a database that is gone, while no server runs; or, with --in-place, mark a database
    that was put there by other means, as by pg_restore.

    Hosts then refuse the server whose place it takes. Jobs that were open in it wait for a person, since nobody knows
    what was done of them after the backup; nothing that runs on a host is stopped. `interlock host-tasks` lists what
    hosts have and this database does not know.
    """
    from interlock import app  # late: as above

    refuse_typed_password(ctx, database)
    if (file is None) is not in_place:
        raise Stop(Exit.USAGE, "name either the file of a backup, or --in-place for a database that is there already")
    config = ServeConfig(state, database_url=database)
    try:
        waiting = app.restore(config, file)
    except app.CannotServe as error:
        raise Stop(Exit.FAILED, str(error)) from None
    write(f"restored; {waiting} {'job waits' if waiting == 1 else 'jobs wait'} for a person: `interlock jobs`")
    if database is None and not config.key.exists():
        write(f"{config.key} is not there: put it back before you start the server, or secrets cannot be read")
