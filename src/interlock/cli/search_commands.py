"""Searching: jobs, events, steps; what has changed; and what may be written in a query."""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from interlock.cli import show
from interlock.cli.client import Cut, NoServer
from interlock.cli.context import Context, Output, examples, of
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import clock, complain, plain, print_json, print_table, write

#: between two looks at the log that is followed; and how long a server may be away meanwhile
FOLLOW_EVERY_S, AWAY_S_MAX = 0.5, 60.0
#: events in one answer while following
_FOLLOWED = 200

Json = Mapping[str, Any]  # an object of the API
Query = Annotated[
    str | None,
    typer.Argument(
        metavar="[QUERY]", help="As: status = failed and vm.name = web*; `interlock fields` tells what there is."
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many.")]
After = Annotated[str | None, typer.Option(help="The next page: what the former one printed.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        "jobs",
        epilog=examples(
            "interlock jobs",
            "interlock jobs 'status = failed and vm.name = web* and started > \"2 hours ago\"'",
            "interlock jobs 'user = ann and duration > 10m sortby duration desc'",
            "interlock -o json jobs --modified-since 0 --limit 200",
        ),
    )(jobs)
    app.command(
        "events",
        epilog=examples(
            "interlock events 'severity = error and at >= today'", "interlock events -f 'kind = job_ended'"
        ),
    )(events)
    app.command("steps", epilog=examples("interlock steps 'status = failed and disk.name = data*'"))(steps)
    app.command("fields", epilog=examples("interlock fields", "interlock fields events"))(fields)


def ask(context: Context, collection: str, query: str | None, *, limit: int, after: str | None) -> Json:
    """A page of what a query finds. A mistake in the query is shown where it is."""
    return _pointed(context, f"/search/{collection}", query, limit=limit, after=after)


def _pointed(context: Context, path: str, query: str | None, **options: Any) -> Json:
    try:
        found: Json = context.client.get(path, query=query, **options)
    except Stop as stop:
        if stop.column is not None and query:
            complain(plain(query), " " * len(plain(query[: stop.column - 1])) + "^")
        raise
    return found


def print_page(context: Context, output: Any, found: Json, table: Callable[[Json], None]) -> None:
    """The page, and how to get the next."""
    if context.wants_json(output):
        print_json(found)
        return
    table(found)
    if found["next"] is not None:
        why = "as many rows as one answer may were looked at; go on" if found["partial"] else "more"
        complain(f"({why} with --after {found['next']})")


def jobs(
    ctx: typer.Context,
    query: Query = None,
    status: Annotated[str | None, typer.Option(help="PENDING, STARTED, FINISHED, FAILED, ABORTED or UNKNOWN.")] = None,
    limit: Limit = 20,
    before: Annotated[uuid.UUID | None, typer.Option(help="Without a query: only jobs older than this one.")] = None,
    after: After = None,
    modified_since: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR", help="Jobs that changed since a former answer's next; 0 for all, now for the present."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Search jobs, newest first. Without a query, those that need a person come before all others."""
    context = of(ctx)
    if modified_since is not None:
        if query is not None or status is not None or before is not None or after is not None:
            raise Stop(Exit.USAGE, "--modified-since stands alone, but for --limit")
        found = context.client.get("/jobs", modified_since=modified_since, limit=limit)
        print_json(found) if context.wants_json(output) else _print_changed(found)
    elif query is None and after is None:
        found = context.client.get("/jobs", status=status, limit=limit, before=before and str(before))
        print_json(found) if context.wants_json(output) else show.jobs(found["jobs"])
    elif status is not None or before is not None:
        raise Stop(Exit.USAGE, "with a query, say status and time in it: status = failed and started < yesterday")
    else:
        found = ask(context, "jobs", query, limit=limit, after=after)
        print_page(context, output, found, lambda page: show.jobs(page["jobs"]))


def _print_changed(found: Json) -> None:
    show.jobs(found["jobs"])
    complain(f"(later changes with --modified-since {found['next']})")


def events(
    ctx: typer.Context,
    query: Query = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those to come, until Ctrl-C.")] = False,
    limit: Limit = 50,
    after: After = None,
    output: Output = None,
) -> None:
    """Search the events of all jobs, newest first; or follow them as they come."""
    context = of(ctx)
    if follow:
        if after is not None:
            raise Stop(Exit.USAGE, "--follow begins with what is to come; leave out --after")
        _follow(context, query, as_json=context.wants_json(output))
        return
    found = ask(context, "events", query, limit=limit, after=after)
    print_page(context, output, found, lambda page: print_table(map(_event, page["events"]), _EVENT_HEADINGS))


_EVENT_HEADINGS = ("AT (UTC)", "SEVERITY", "JOB", "KIND", "MESSAGE")


def _event(each: Json) -> tuple[Any, ...]:
    return clock(each["at"]), each["severity"], each["job_id"], each["kind"], each["message"]


def _follow(context: Context, query: str | None, *, as_json: bool) -> None:
    """A line for each event; a server that restarts is waited for, and nothing is missed."""
    after: int | None = None
    away_since: float | None = None
    while True:
        try:
            found = _pointed(context, "/events", query, after=after, limit=_FOLLOWED)
            away_since = None
        except (NoServer, Cut) as error:
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if after is None or now - away_since > AWAY_S_MAX:
                raise Stop(Exit.UNKNOWN, *error.reasons) from None
            time.sleep(FOLLOW_EVERY_S)
            continue
        is_more = after is not None and found["next"] != after
        after = found["next"]
        for each in found["events"]:
            if as_json:
                print_json(each)
            else:
                write("  ".join(plain(cell) for cell in _event(each)))
        if not is_more:
            time.sleep(FOLLOW_EVERY_S)


def steps(
    ctx: typer.Context,
    query: Query = None,
    limit: Limit = 50,
    after: After = None,
    output: Output = None,
) -> None:
    """Search the steps of all jobs; those that began last come first."""
    context = of(ctx)
    found = ask(context, "steps", query, limit=limit, after=after)

    def table(page: Json) -> None:
        rows = [
            (each["job_id"], each["status"], f"{each['progress']}%", clock(each["started_at"]), show.step_name(each))
            for each in page["steps"]
        ]
        print_table(rows, ("JOB", "STATUS", "DONE", "STARTED (UTC)", "STEP"))

    print_page(context, output, found, table)


def print_commands(context: Context, query: str, limit: int, after: str | None, output: Any) -> None:
    """The commands of all jobs that a query finds."""

    def table(page: Json) -> None:
        rows = [
            (each["job_id"], each["name"], each["state"], each["result"], clock(each["created_at"]), each["title"])
            for each in page["commands"]
        ]
        print_table(rows, ("JOB", "COMMAND", "STATE", "RESULT", "PLANNED (UTC)", "TITLE"))

    print_page(context, output, ask(context, "commands", query, limit=limit, after=after), table)


def print_entities(context: Context, type: str, query: str, limit: int, after: str | None, output: Any) -> None:
    """The entities of a type that a query finds."""

    def table(page: Json) -> None:
        print_table([(each["name"], each["status"], each["id"]) for each in page["entities"]], ("NAME", "STATUS", "ID"))

    found = ask(context, f"entities/{quote(type, safe='')}", query, limit=limit, after=after)
    print_page(context, output, found, table)


def fields(
    ctx: typer.Context,
    collection: Annotated[
        str, typer.Argument(help="jobs, events, steps, commands, or the type of an entity, as vm.")
    ] = "jobs",
    output: Output = None,
) -> None:
    """Tell what a query may ask of jobs, events, steps, commands or entities."""
    context = of(ctx)
    name = quote(collection, safe="")
    path = name if collection in ("jobs", "events", "steps", "commands") else f"entities/{name}"
    found = context.client.get(f"/search/{path}/fields")
    if context.wants_json(output):
        print_json(found)
        return
    rows = [(each["name"], ", ".join(each["words"]) or each["kind"], each["about"]) for each in found["fields"]]
    if found["entities"]:
        rows.append(("TYPE.name, TYPE.id", "text, id", f"of what it names: {', '.join(found['entities'])}"))
    print_table(rows, ("FIELD", "TAKES", "WHAT IT IS"))
