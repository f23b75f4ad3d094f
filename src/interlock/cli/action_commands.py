"""Keeping: what people did, and how long ended jobs are kept."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from interlock.cli.context import Output, examples, of
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import clock, print_fields, print_json, print_table, write

_EXAMPLE = "0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        "actions",
        epilog=examples(
            "interlock actions --by ada",
            f"interlock actions --job {_EXAMPLE}",
            "interlock actions --subject disk:data1 --limit 10",
        ),
    )(actions)
    app.command("retention", epilog=examples("interlock retention", "interlock retention --now"))(retention)


def retention(
    ctx: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="Remove what may go at once, instead of within the hour.")] = False,
    output: Output = None,
) -> None:
    """Show how long ended jobs are kept, how many would be removed now, and why others are kept; or remove them.

    `interlock serve --keep-succeeded --keep-failed --keep --archive` sets it. Jobs with open leftovers, and those that
    a job under way refers to, are never removed; nor is what people did.
    """
    context = of(ctx)
    if now:
        more = True
        while more:
            found = context.client.post("/retention/run", {})
            print_json(found) if context.wants_json(output) else _show_round("removed", found["removed"])
            more = found["removed"]["more"]
        return
    found = context.client.get("/retention")
    if context.wants_json(output):
        print_json(found)
        return
    settings = found["settings"]
    own = ", ".join(f"{name} {days:g}" for name, days in settings["by_command_days"].items())
    print_fields(
        {
            "days kept, succeeded": f"{settings['succeeded_days']:g}",
            "days kept, others": f"{settings['failed_days']:g}",
            "days kept, by command": own,
            "archive": settings["archive"],
        }
    )
    _show_round("would go", found["would_go"])


def _show_round(verb: str, found: Mapping[str, Any]) -> None:
    write(f"{verb}: {found['jobs']} jobs, {found['signals']} signals")
    for reason, many in found["kept"].items():
        write(f"kept: {many}, since {reason}")


def actions(
    ctx: typer.Context,
    job: Annotated[uuid.UUID | None, typer.Option(help="Only what was done to this job.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this: TYPE:NAME or TYPE:ID.")] = None,
    by: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many are listed.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="Only those before this number.")] = None,
    output: Output = None,
) -> None:
    """List what people did, the newest first: who, when, what, upon what, and why. No action is ever removed."""
    if job is not None and subject is not None:
        raise Stop(Exit.USAGE, "give --job or --subject, not both")
    context = of(ctx)
    about = f"job:{job}" if job is not None else subject
    found = context.client.get("/actions", limit=limit, before=before, subject=about, by=by)
    if context.wants_json(output):
        print_json(found)
        return
    print_table(rows(found["actions"]), HEADINGS)
    if found["next"] is not None:
        write(f"\nmore: --before {found['next']}")


HEADINGS = ("N", "AT (UTC)", "BY", "WHAT", "SUBJECT", "REASON", "BEFORE", "AFTER")


def rows(found: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
    """One line an action."""
    return [
        (
            each["number"],
            clock(each["at"]),
            each["by"],
            each["what"],
            each["subject"],
            each["reason"],
            _shown(each["before"]),
            _shown(each["after"]),
        )
        for each in found
    ]


def _shown(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
