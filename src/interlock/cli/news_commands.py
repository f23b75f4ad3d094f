"""News for jobs under way: signals, reports for monitors, answers; and several commands in one call."""

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import parameters
from interlock.cli.context import Output, examples, of
from interlock.cli.exits import Exit, Stop
from interlock.cli.job_commands import JobId
from interlock.cli.output import print_json, print_table, write
from interlock.model.calls import CallOrder

_EXAMPLE = "0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"
#: bytes of a file with a call
_FILE_SIZE_MAX = 1 << 20

About = Annotated[str | None, typer.Option(help="The entity that it is about, TYPE:NAME or TYPE:ID.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="key=text, repeated for a list; key:=json.", show_default=False),
]


def register(app: typer.Typer, jobs: typer.Typer) -> None:
    """Adds the commands of this module to `interlock` and to `interlock job`."""
    app.command("call", epilog=examples("interlock call commands.json --order sequential"))(call)
    app.command(
        "signal",
        epilog=examples("interlock signal host.booted --about host:h1", f"interlock signal go --job {_EXAMPLE} n:=3"),
    )(signal)
    app.command("report", epilog=examples("interlock report host.seen host:h1 status=UP"))(report)
    jobs.command("questions", epilog=examples(f"interlock job questions {_EXAMPLE}"))(questions)
    jobs.command("answer", epilog=examples(f"interlock job answer {_EXAMPLE} approve:=true reason='all is well'"))(
        answer
    )


def call(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(help='A JSON list of {"command": …, "parameters": {…}}; - reads standard input.')
    ],
    order: Annotated[CallOrder, typer.Option(help="How the jobs follow one another.")] = CallOrder.PARALLEL,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key with the same commands is the same jobs.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(help="Shown on everything the jobs do.")] = None,
    output: Output = None,
) -> None:
    """Submit several commands at once, each as a job; all are validated before any runs. Prints the jobs' ids."""
    context = of(ctx)
    body = {
        "commands": _commands(file),
        "order": order,
        "idempotency_key": idempotency_key or str(uuid.uuid4()),
        "correlation_id": correlation_id,
    }
    found = context.client.post("/calls", body)
    if context.wants_json(output):
        print_json(found)
        return
    for id in found["job_ids"]:
        write(id)


def _commands(file: str) -> Any:
    try:
        text = sys.stdin.read(_FILE_SIZE_MAX + 1) if file == "-" else Path(file).read_text(encoding="utf-8")
        if len(text) > _FILE_SIZE_MAX:
            raise Stop(Exit.USAGE, f"{file} has more than {_FILE_SIZE_MAX} letters; make several calls of it")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise Stop(Exit.USAGE, f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(found, list):
        raise Stop(Exit.USAGE, f'{file} has no list; write [{{"command": …, "parameters": {{…}}}}, …]')
    return found


def signal(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="What happened.", show_default=False)],
    words: Words = None,
    about: About = None,
    job: Annotated[uuid.UUID | None, typer.Option(help="Only for this job, also for a wait of it to come.")] = None,
    output: Output = None,
) -> None:
    """Tell jobs that wait for it that something happened; the words are its data. Prints the signal's id."""
    context = of(ctx)
    data = parameters.parse(words) if words else None
    body = {"kind": kind, "about": about, "job_id": job and str(job), "data": data, "id": str(uuid.uuid4())}
    found = context.client.post("/signals", body)
    print_json(found) if context.wants_json(output) else write(found["id"])


def report(
    ctx: typer.Context,
    monitor: Annotated[str, typer.Argument(help="Who is told.", show_default=False)],
    about: Annotated[str, typer.Argument(help="What was observed, TYPE:NAME or TYPE:ID.", show_default=False)],
    words: Words = None,
    output: Output = None,
) -> None:
    """Tell a monitor what was observed of an entity; it writes that, and whatever waits for it looks again."""
    context = of(ctx)
    body = {"monitor": monitor, "about": about, "report": parameters.parse(words or ())}
    found = context.client.post("/reports", body)
    print_json(found) if context.wants_json(output) else write(f"{monitor} was told of {found['about']}")


def questions(ctx: typer.Context, job_id: JobId, output: Output = None) -> None:
    """Show what a job asks people, and what an answer takes."""
    context = of(ctx)
    found = context.client.get(f"/jobs/{job_id}/questions")
    if context.wants_json(output):
        print_json(found)
        return
    rows = [
        (each["task_id"], each["question"], each["permission"], ", ".join(_fields(each["schema"])))
        for each in found["questions"]
    ]
    print_table(rows, ("TASK", "QUESTION", "PERMISSION", "ANSWER"))


def _fields(schema: dict[str, Any]) -> list[str]:
    needed = schema.get("required", [])
    return [
        f"{name} ({each.get('type', 'any')}{'' if name in needed else ', optional'})"
        for name, each in schema.get("properties", {}).items()
    ]


def answer(
    ctx: typer.Context,
    job_id: JobId,
    words: Words = None,
    task: Annotated[uuid.UUID | None, typer.Option(help="Which question, where the job asks several.")] = None,
    output: Output = None,
) -> None:
    """Answer what a job asks; `interlock job questions` shows what it is, and what an answer takes."""
    context = of(ctx)
    body = {"answer": parameters.parse(words or ()), "task_id": task and str(task)}
    found = context.client.post(f"/jobs/{job_id}/answer", body)
    print_json(found) if context.wants_json(output) else write("answered")
