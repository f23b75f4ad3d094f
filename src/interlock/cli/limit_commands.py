"""Limits: set, remove and list how much may go on at once, or start within a time."""

from typing import Annotated

import typer

from interlock.cli import parameters
from interlock.cli.context import Output, examples, of
from interlock.cli.output import print_json, print_table, write
from interlock.model.limits import AT_MOST_MAX, STARTS_MAX

Key = Annotated[str, typer.Argument(help="command:TYPE, host:NAME or key:TEXT.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept for ever.", show_default=False)]
limits_group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="How much may go on at once.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    limits_group.command(
        "set",
        epilog=examples(
            "interlock limit set command:disk.copy --at-most 5",
            "interlock limit set host:h1 --starts 10 --per 1m",
            "interlock limit set 'key:rack 7' --at-most 0 --reason 'the rack is being moved'",
        ),
    )(set_)
    limits_group.command("remove", epilog=examples("interlock limit remove command:disk.copy"))(remove)
    limits_group.command("list", epilog=examples("interlock limit list", "interlock -o json limit list"))(list_)
    app.add_typer(limits_group, name="limit")


def set_(
    ctx: typer.Context,
    key: Key,
    at_most: Annotated[
        int | None, typer.Option(min=0, max=AT_MOST_MAX, help="How many run at once; 0 lets none begin.")
    ] = None,
    starts: Annotated[int | None, typer.Option(min=1, max=STARTS_MAX, help="With --per: how many begin.")] = None,
    per: Annotated[str | None, typer.Option(metavar="TIME", help="With --starts: 90s, 15m, 2h, 1d.")] = None,
    reason: Reason = "",
    output: Output = None,
) -> None:
    """Set a limit, or set it otherwise. What runs goes on; what would begin waits."""
    context = of(ctx)
    body = {
        "key": key,
        "at_most": at_most,
        "starts_max": starts,
        "window_s": None if per is None else parameters.seconds(per),
        "reason": reason,
    }
    found = context.client.post("/limits", body)
    print_json(found) if context.wants_json(output) else write(found["key"])


def remove(ctx: typer.Context, key: Key, reason: Reason = "", output: Output = None) -> None:
    """Remove a limit; what waits because of it goes on."""
    context = of(ctx)
    found = context.client.post("/limits/remove", {"key": key, "reason": reason})
    print_json(found) if context.wants_json(output) else write(found["key"])


def list_(ctx: typer.Context, output: Output = None) -> None:
    """List limits with how full they are, and how many wait."""
    context = of(ctx)
    found = context.client.get("/limits")
    if context.wants_json(output):
        print_json(found)
        return
    rows = [
        (
            each["key"],
            "" if each["at_most"] is None else f"{each['running']} of {each['at_most']}",
            "" if each["starts_max"] is None else f"{each['recent']} of {each['starts_max']} in {each['window_s']:g} s",
            each["waiting"],
            each["set_by"],
        )
        for each in found["limits"]
    ]
    print_table(rows, ("LIMIT", "RUNNING", "STARTED", "WAITING", "SET BY"))
