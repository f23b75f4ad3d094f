"""Databases on the command line: `ps` shows it to everybody, so no password may stand there."""

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer

from interlock.cli.exits import Exit, Stop

#: which database a command works on by itself
Database = Annotated[
    str | None,
    typer.Option(
        help="The database's URL, as postgresql://user@host/name; without it, state.db in the server's folder.",
        envvar="INTERLOCK_DATABASE",
        show_default=False,
    ),
]


def refuse_password(url: str | None) -> None:
    """Stops where the URL has a password."""
    if url is not None and has_password(url):
        raise Stop(
            Exit.USAGE,
            "a password on the command line is shown to everybody by ps; take it out of the URL, and put it into "
            "PGPASSWORD or a password file (PGPASSFILE), or the whole URL into INTERLOCK_DATABASE",
        )


def refuse_typed_password(ctx: typer.Context, url: str | None) -> None:
    """Stops where the URL of the option `database` has one and was typed; the environment may have it."""
    source = ctx.get_parameter_source("database")
    if source is not None and source.name == "COMMANDLINE":
        refuse_password(url)


def has_password(url: str) -> bool:
    """Whether there is a password in it, as far as it can be read; one that cannot may have one."""
    try:
        parts = urlsplit(url)
        return parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        return "@" in url
