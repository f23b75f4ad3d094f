"""What every command of the program shares: the client, made when first used, and the format."""

from typing import Annotated

import typer

from interlock.cli.client import Client
from interlock.cli.output import Format

SOCKET_DEFAULT = "./interlock-state/interlock.sock"

#: `-o` is understood before and after a command's name
Output = Annotated[Format | None, typer.Option("--output", "-o", help="How answers are printed.", show_default=False)]


class Context:
    """The global options of one run."""

    def __init__(self, socket: str, output: Format) -> None:
        self.output = output
        self.client = Client(socket)

    def wants_json(self, own: Format | None) -> bool:
        """Whether JSON is wanted; a command's own `-o` counts more than the global one."""
        return (own or self.output) is Format.JSON


def of(ctx: typer.Context) -> Context:
    """The context of a Typer call."""
    found = ctx.find_object(Context)
    assert found is not None, "the callback of the program makes it"
    return found


def examples(*lines: str) -> str:
    """A help page's epilog with one example a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
