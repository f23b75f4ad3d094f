"""Schedules: commands that are run later, or again and again."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from interlock.cli import parameters
from interlock.cli.context import Output, examples, of
from interlock.cli.output import clock, print_fields, print_json, print_table, write
from interlock.model.locks import PRIORITY_MAX
from interlock.model.schedules import LATE_S, LATE_S_MAX, Missed

schedule_group = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Run commands later, or again and again."
)

Which = Annotated[str, typer.Argument(help="Its name or id.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept for ever.", show_default=False)]
Cron = Annotated[
    str | None,
    typer.Option(help="Again and again: minute, hour, day of the month, month, day of the week.", show_default=False),
]
At = Annotated[str | None, typer.Option(help="Once, at this moment: 2027-01-31T02:00.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds `interlock schedule`."""
    add_ = schedule_group.command
    add_(
        "add",
        epilog=examples(
            "interlock schedule add nightly vm.backup vm=web1 --cron '0 2 * * *' --zone Europe/Berlin",
            "interlock schedule add move disk.move disk=data domain=d2 --at 2027-01-31T02:00 --zone America/New_York",
            "interlock schedule add hourly host.scan host=h1 --cron '0 * * * *' --missed skip",
        ),
    )(add)
    add_("list", epilog=examples("interlock schedule list"))(list_)
    add_("show", epilog=examples("interlock schedule show nightly"))(show)
    add_("change", epilog=examples("interlock schedule change nightly --cron '30 3 * * *' --reason 'after the dump'"))(
        change
    )
    add_("pause", epilog=examples("interlock schedule pause nightly --reason 'the storage is being moved'"))(pause)
    add_("resume", epilog=examples("interlock schedule resume nightly"))(resume)
    add_("remove", epilog=examples("interlock schedule remove nightly --reason 'web1 is gone'"))(remove)
    app.add_typer(schedule_group, name="schedule")


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is called.", show_default=False)],
    command: Annotated[str, typer.Argument(help="The command; `interlock commands` lists them.", show_default=False)],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="key=text, repeated for a list; key:=json.", show_default=False),
    ] = None,
    cron: Cron = None,
    at: At = None,
    zone: Annotated[str, typer.Option(help="By whose clocks, as Europe/Berlin.")] = "UTC",
    missed: Annotated[
        Missed, typer.Option(help="What becomes of a run for which no server was there: run it once, or skip it.")
    ] = Missed.RUN,
    late: Annotated[
        int, typer.Option(min=0, max=LATE_S_MAX, help="How many seconds late a missed run may begin.")
    ] = LATE_S,
    priority: Annotated[int, typer.Option(min=-PRIORITY_MAX, max=PRIORITY_MAX, help="Of its jobs.")] = 0,
    correlation_id: Annotated[str | None, typer.Option(help="Shown on everything its jobs do.")] = None,
    output: Output = None,
) -> None:
    """Have a command run later (--at), or again and again (--cron).

    A run begins once, whatever crashes; none begins while the job of the one before has not ended: it is skipped, and
    `interlock schedule show` says so. Where clocks are put forward a run whose hour does not exist begins just after;
    where they are put back, one whose hour comes twice begins once.
    """
    context = of(ctx)
    body = {
        "name": name, "command": command, "parameters": parameters.parse(words or ()), "cron": cron, "at": at,
        "zone": zone, "missed": missed, "late_s_max": late, "priority": priority, "correlation_id": correlation_id,
    }  # fmt: skip
    found = context.client.post("/schedules", body)
    print_json(found) if context.wants_json(output) else _show(found)


def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many are listed.")] = 50,
    after: Annotated[str | None, typer.Option(help="Only those whose names come after this one.")] = None,
    output: Output = None,
) -> None:
    """List the schedules, by name."""
    context = of(ctx)
    found = context.client.get("/schedules", limit=limit, after=after)
    if context.wants_json(output):
        print_json(found)
        return
    rows = [
        (each["name"], each["command"], each["cron"] or "once", each["zone"], clock(each["next_at"]),
         _state(each), each["runs"], each["skipped"])
        for each in found["schedules"]
    ]  # fmt: skip
    print_table(rows, ("NAME", "COMMAND", "CRON", "ZONE", "NEXT (UTC)", "STATE", "RUNS", "SKIPPED"))
    if found["next"] is not None:
        write(f"\nmore: --after {found['next']}")


def show(ctx: typer.Context, which: Which, output: Output = None) -> None:
    """Show a schedule: its next runs, the jobs that it began, and what it skipped and why."""
    context = of(ctx)
    found = context.client.get(_path(which))
    print_json(found) if context.wants_json(output) else _show(found)


def change(
    ctx: typer.Context,
    which: Which,
    cron: Cron = None,
    at: At = None,
    zone: Annotated[str | None, typer.Option(help="By whose clocks.", show_default=False)] = None,
    missed: Annotated[Missed | None, typer.Option(help="Of missed runs.", show_default=False)] = None,
    late: Annotated[int | None, typer.Option(min=0, max=LATE_S_MAX, show_default=False)] = None,
    priority: Annotated[int | None, typer.Option(min=-PRIORITY_MAX, max=PRIORITY_MAX, show_default=False)] = None,
    reason: Reason = "",
    output: Output = None,
) -> None:
    """Change when a schedule is due, and how; what is not named stays."""
    context = of(ctx)
    body = {
        "cron": cron, "at": at, "zone": zone, "missed": missed, "late_s_max": late, "priority": priority,
        "reason": reason,
    }  # fmt: skip
    found = context.client.patch(_path(which), body)
    print_json(found) if context.wants_json(output) else _show(found)


def pause(ctx: typer.Context, which: Which, reason: Reason = "", output: Output = None) -> None:
    """Begin nothing of a schedule until it is resumed."""
    _post(ctx, f"{_path(which)}/pause", reason, output)


def resume(ctx: typer.Context, which: Which, reason: Reason = "", output: Output = None) -> None:
    """Go on with what is due from now; nothing is made up for."""
    _post(ctx, f"{_path(which)}/resume", reason, output)


def remove(ctx: typer.Context, which: Which, reason: Reason = "", output: Output = None) -> None:
    """Remove a schedule; jobs that it began go on."""
    context = of(ctx)
    found = context.client.delete(_path(which), reason=reason)
    print_json(found) if context.wants_json(output) else write(f"removed {which}")


def _post(ctx: typer.Context, path: str, reason: str, output: Output) -> None:
    context = of(ctx)
    found = context.client.post(path, {"reason": reason})
    print_json(found) if context.wants_json(output) else _show(found)


def _path(which: str) -> str:
    return f"/schedules/{quote(which, safe='')}"


def _state(found: Mapping[str, Any]) -> str:
    if found["paused_by"] is not None:
        return f"paused by {found['paused_by']}"
    if found["next_at"] is None:
        return "over"
    return f"failed {found['failures']} times in a row" if found["failures"] else "active"


def _show(found: Mapping[str, Any]) -> None:
    print_fields(
        {
            "schedule": found["name"],
            "id": found["id"],
            "command": found["command"],
            "parameters": found["parameters"],
            "state": _state(found),
            "cron": found["cron"],
            "zone": found["zone"],
            "missed runs": f"{found['missed']}, at most {found['late_s_max']} s late",
            "user": found["user"],
            "next (UTC)": ", ".join(map(clock, found["next_runs"])),
            "runs": found["runs"],
            "skipped": found["skipped"],
            "last skipped": f"{clock(found['skipped_at'])} {found['skipped_reason']}" if found["skipped_at"] else None,
        }
    )
    if found["jobs"]:
        write("\njobs:")
        rows = [(each["id"], each["result"] or each["status"], clock(each["started_at"])) for each in found["jobs"]]
        print_table(rows, ("JOB", "STATUS", "STARTED (UTC)"))
