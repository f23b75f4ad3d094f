"""The program: global options, the tree of commands, and how every ending becomes an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from interlock.cli import (
    action_commands,
    agent_commands,
    backup_commands,
    control_commands,
    job_commands,
    limit_commands,
    news_commands,
    read_commands,
    schedule_commands,
    search_commands,
    server_commands,
    settle_commands,
)
from interlock.cli.context import SOCKET_DEFAULT, Context
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import Format, complain

#: click's mistake of a caller, wherever this version of Typer keeps it
_Mistake: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="interlock",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 succeeded, 1 failed or refused, 2 cancelled, 3 unknown, 4 not allowed, 5 timeout, 64 usage.",
)


@app.callback()
def options(
    ctx: typer.Context,
    socket: Annotated[str, typer.Option(envvar="INTERLOCK_SOCKET", help="The server's Unix socket.")] = SOCKET_DEFAULT,
    output: Annotated[Format, typer.Option("--output", "-o", help="How answers are printed.")] = Format.TABLE,
) -> None:
    """Run commands on hosts so that each reaches exactly one end, and that end is true."""
    ctx.obj = Context(socket, output)


job_commands.register(app)
control_commands.register(job_commands.jobs_group)
settle_commands.register(job_commands.jobs_group)
news_commands.register(app, job_commands.jobs_group)
limit_commands.register(app)
read_commands.register(app)
schedule_commands.register(app)
action_commands.register(app)
search_commands.register(app)
backup_commands.register(app)
server_commands.register(app)
agent_commands.register(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code; a caller's mistake is a line, never a stack trace."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _check_text(arguments)
        left = typer.main.get_command(app).main(args=arguments, prog_name="interlock", standalone_mode=False)
    except Stop as stop:
        complain(*(f"interlock: {reason}" for reason in stop.reasons))
        if stop.job_id is not None:
            complain(f"interlock: `interlock job show {stop.job_id}` shows it")
        return stop.code
    except _Mistake as mistake:
        mistake.show()  # type: ignore[attr-defined]  # click's, not told by typer's types
        return Exit.USAGE
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return left if isinstance(left, int) else Exit.SUCCEEDED  # what Typer makes of Ctrl-C it returns


def _check_text(arguments: Sequence[str]) -> None:
    """Raises Stop for bytes that are no text: all that is sent and printed is UTF-8."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Stop(Exit.USAGE, f"the argument {argument!a} is not UTF-8; write it in UTF-8") from None
