"""Looking: commands, entities, locks, leftovers, hosts, and whether the database is consistent."""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from interlock.cli import search_commands, show
from interlock.cli.context import Output, examples, of
from interlock.cli.databases import refuse_password
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import clock, print_fields, print_json, print_table, write

Json = Mapping[str, Any]  # an object of the API
leftover_group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Settle one leftover.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        "commands",
        epilog=examples(
            "interlock commands", "interlock commands vm.remove", "interlock commands -q 'result = failed'"
        ),
    )(commands)
    app.command(
        "entity",
        epilog=examples("interlock entity vm", "interlock entity vm web1", "interlock entity vm -q 'host.name = h1'"),
    )(entity)
    app.command("locks", epilog=examples("interlock locks"))(locks)
    app.command("leftovers", epilog=examples("interlock leftovers"))(leftovers)
    app.add_typer(leftover_group, name="leftover")
    app.command("hosts", epilog=examples("interlock hosts"))(hosts)
    app.command("host-tasks", epilog=examples("interlock host-tasks", "interlock host-tasks --all"))(host_tasks)
    app.command("verify", epilog=examples("interlock verify", "interlock verify --database interlock-state/state.db"))(
        verify
    )


def commands(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Only this one, with its parameters.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="Search the commands of all jobs instead.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="With --query: how many.")] = 50,
    after: Annotated[str | None, typer.Option(help="With --query: the next page.", show_default=False)] = None,
    output: Output = None,
) -> None:
    """List the commands that can be run, or show one with its parameters; or search those of all jobs."""
    context = of(ctx)
    if query is not None:
        if name is not None:
            raise Stop(Exit.USAGE, "a command's name has no query; write -q 'name = …'")
        search_commands.print_commands(context, query, limit, after, output)
        return
    found = context.client.get("/commands")["commands"]
    if name is not None:
        found = [each for each in found if each["name"] == name]
        if not found:
            raise Stop(Exit.USAGE, f"there is no command {name!r}; `interlock commands` lists them")
    if context.wants_json(output):
        print_json(found if name is None else found[0])
    elif name is None:
        rows = [(each["name"], each["version"], each["doc"].partition("\n")[0]) for each in found]
        print_table(rows, ("COMMAND", "VERSION", "WHAT IT DOES"))
    else:
        _show_command(found[0])


def _show_command(command: Json) -> None:
    print_fields({"command": command["name"], "version": command["version"]})
    for line in command["doc"].splitlines():
        write(line)
    schema = command["schema"]
    required = schema.get("required", [])
    rows = [
        (
            name,
            _kind(field, schema.get("$defs", {})),
            "required" if name in required else f"default {json.dumps(field.get('default'))}",
        )
        for name, field in schema.get("properties", {}).items()
    ]
    if rows:
        write("")
        print_table(rows, ("PARAMETER", "TYPE", ""))


def _kind(field: Json, named: Json) -> str:
    """A parameter's type in a word or two, from its JSON schema; `named` are the schema's definitions."""
    if "$ref" in field:
        return _kind(named.get(field["$ref"].rpartition("/")[2], {}), named)
    if "anyOf" in field:
        return " or ".join(_kind(each, named) for each in field["anyOf"])
    if field.get("format") == "ref":
        return f"{field.get('entity') or 'any entity'} (name or id)"
    if "enum" in field:
        return " | ".join(str(each) for each in field["enum"])
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}), named)}"
    if field.get("properties"):
        inner = (f"{key}: {_kind(each, named)}" for key, each in field["properties"].items())
        return "{" + ", ".join(inner) + "}"
    return str(field.get("type", "JSON"))


def entity(
    ctx: typer.Context,
    type: Annotated[str, typer.Argument(help="As vm, disk, host.", show_default=False)],
    name: Annotated[str | None, typer.Argument(help="Its name or id; without one, all are listed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many are listed.")] = 50,
    after: Annotated[str | None, typer.Option(help="Only those that come after this one.", show_default=False)] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="Only those for which it holds.", show_default=False)
    ] = None,
    output: Output = None,
) -> None:
    """List or search the entities of a type, or show one: fields, locks on it, and the jobs that touch it."""
    context = of(ctx)
    if query is not None:
        if name is not None:
            raise Stop(Exit.USAGE, "an entity's name has no query; write -q 'name = …'")
        search_commands.print_entities(context, type, query, limit, after, output)
        return
    path = f"/entities/{quote(type, safe='')}"
    if name is None:
        found = context.client.get(path, limit=limit, after=after)
        rows = [(each["name"], each["status"], each["id"]) for each in found["entities"]]
        print_json(found) if context.wants_json(output) else print_table(rows, ("NAME", "STATUS", "ID"))
        return
    found = context.client.get(f"{path}/{quote(name, safe='')}")
    print_json(found) if context.wants_json(output) else _show_entity(found)


def _show_entity(found: Json) -> None:
    fields = {key: _field(value) for key, value in found["fields"].items() if key not in ("id", "name")}
    print_fields({"ref": found["ref"], "name": found["name"], **fields})
    if found["locks"]:
        write("\nlocks:")
        _print_locks(found["locks"])
    if found["referrers"]:
        write("\nreferred to by:")
        print_table([(each["ref"], each["field"]) for each in found["referrers"]], ("ENTITY", "FIELD"))
    if found["jobs"]:
        write("\njobs:")
        show.jobs(found["jobs"])


def _field(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def locks(ctx: typer.Context, output: Output = None) -> None:
    """Show who holds what."""
    context = of(ctx)
    found = context.client.get("/locks")
    print_json(found) if context.wants_json(output) else _print_locks(found["locks"])


def _print_locks(found: list[Json]) -> None:
    rows = [
        (
            each["ref"],
            each["name"],
            each["mode"],
            each["job_id"],
            each["job_title"],
            clock(each["taken_at"]),
            each["leftover_reason"],
        )
        for each in found
    ]
    print_table(rows, ("ENTITY", "NAME", "MODE", "JOB", "TITLE", "SINCE (UTC)", "LEFTOVER"))


def leftovers(ctx: typer.Context, output: Output = None) -> None:
    """Show what jobs could not clean and nobody has cleared."""
    context = of(ctx)
    found = context.client.get("/leftovers")
    print_json(found) if context.wants_json(output) else show.leftovers(found["leftovers"])


@leftover_group.command(
    "clear",
    epilog=examples("interlock leftover clear 0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e --reason 'host was reinstalled'"),
)
def leftover_clear(
    ctx: typer.Context,
    leftover_id: Annotated[uuid.UUID, typer.Argument(help="Its id.", show_default=False)],
    reason: Annotated[str, typer.Option(help="What you checked or did; kept for ever.", show_default=False)],
    output: Output = None,
) -> None:
    """Declare a leftover settled: you attest that nothing remains. Its entities can be locked again."""
    context = of(ctx)
    found = context.client.post(f"/leftovers/{leftover_id}/clear", {"reason": reason})
    print_json(found) if context.wants_json(output) else show.leftovers([found])


def hosts(ctx: typer.Context, output: Output = None) -> None:
    """Show the hosts, whether they are connected, and what they run."""
    context = of(ctx)
    found = context.client.get("/hosts")
    if context.wants_json(output):
        print_json(found)
        return
    keys = list(dict.fromkeys(key for host in found["hosts"] for key in host))
    rows = [[_field(host.get(key)) for key in keys] for host in found["hosts"]]
    print_table(rows, [key.replace("_", " ").upper() for key in keys] or ["HOST"])


def host_tasks(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also those that jobs of this database have begun.")] = False,
    output: Output = None,
) -> None:
    """Ask every host for its tasks, and show those that no job of this database has begun.

    They were begun by somebody else, or after a backup that was restored since; nobody stops them unasked. Exit code 1
    where a host did not answer.
    """
    context = of(ctx)
    found = context.client.get("/host-tasks")["hosts"]
    problems = [f"{host['host']}: {host['problem']}" for host in found if host["problem"] is not None]
    if context.wants_json(output):
        print_json({"hosts": found})
    else:
        rows = [
            [host["host"], task["task"], task["state"], task["result"], task["job"] or "-", task["message"]]
            for host in found
            for task in host["tasks"]
            if all_ or task["job"] is None
        ]
        print_table(rows, ["HOST", "TASK", "STATE", "RESULT", "JOB", "MESSAGE"])
    if problems:
        raise Stop(Exit.FAILED, "; ".join(problems))


def verify(
    ctx: typer.Context,
    database: Annotated[
        str | None,
        typer.Option(help="Read this file or URL itself, live or not, instead of asking the server."),
    ] = None,
    digest: Annotated[
        str | None, typer.Option(help="An action's digest that was noted before: it must still be there.")
    ] = None,
    output: Output = None,
) -> None:
    """Check every promise that the database can show, and that no action of a person was changed or removed.

    Prints the last action's digest: note it elsewhere, and name it later with --digest, for who can write to the
    database could write the whole chain anew. Exit code 1 where a promise is broken.
    """
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise Stop(Exit.USAGE, f"{digest!r} is no digest: 64 of 0-9 and a-f, as `interlock verify` printed it")
    context = of(ctx)
    if database is None:
        found: Json = context.client.get("/verify", digest=digest)
    else:
        from interlock import app  # late: brings the database's code

        try:
            refuse_password(database)
            found = app.verify_database(database, noted_digest=digest)
        except app.CannotServe as error:
            raise Stop(Exit.FAILED, str(error)) from None
    violations = found["violations"]
    if context.wants_json(output):
        print_json(found)
    elif violations:
        print_table([(each["number"], each["message"]) for each in violations], ("INVARIANT", "WHAT IS WRONG"))
    else:
        write("all invariants hold")
        last = found["last_action"]
        if last is not None:
            write(f"last action {last['number']}, digest {last['digest']}")
    if violations:
        raise Stop(Exit.FAILED)
