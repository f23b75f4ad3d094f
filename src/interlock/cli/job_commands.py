"""Jobs: run a command, list jobs, show and watch one."""

import time
import uuid
from typing import Annotated, Any

import typer

from interlock.cli import exits, parameters, show, show_plan, watching
from interlock.cli.client import Client, Cut, NoServer
from interlock.cli.context import Context, Output, examples, of
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import print_json, write
from interlock.model.calls import AfterPolicy
from interlock.model.locks import PRIORITY_MAX

#: how long a submission whose answer was lost is repeated, under the same idempotency key
RESEND_S_MAX = 30.0
RESEND_EVERY_S = 0.5

JobId = Annotated[uuid.UUID, typer.Argument(help="The job's id, as `interlock jobs` shows it.", show_default=False)]
jobs_group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show or watch one job.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        "run",
        epilog=examples(
            "interlock run vm.remove vm=web1 --wait",
            "interlock run vm.remove vm=web1 --plan",
            "interlock run disk.move disk=data domain=d2 --deadline 2h",
            "interlock run vm.remove vm=web1 --after 0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e",
            'interlock run vm.add name=web1 domain=d1 \'disks:=[{"size": "10GiB"}]\'',
            "interlock run host.add name=h1 address=127.0.0.1 port:=54321 --correlation-id ticket-42",
        ),
    )(run)
    app.add_typer(jobs_group, name="job")


def run(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The command; `interlock commands` lists them.", show_default=False)],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="key=text, repeated for a list; key:=json.", show_default=False),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what it would do; nothing happens.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job until it has ended.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="With --wait: seconds; the job goes on. Exit code 5.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The parameters' version.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key with the same parameters is the same job.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(help="Shown on everything the job does.")] = None,
    priority: Annotated[
        int,
        typer.Option(min=-PRIORITY_MAX, max=PRIORITY_MAX, help="Higher comes first where commands wait for a lock."),
    ] = 0,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long it may take once it has begun: 90s, 15m, 2h, 1d. Then it is stopped."
        ),
    ] = None,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Where a part fails, keep what succeeded and ask; see `interlock job retry` and `skip`."
        ),
    ] = False,
    wait_for_locks: Annotated[
        bool, typer.Option("--wait-for-locks", help="Wait in line for what others hold, instead of being refused.")
    ] = False,
    after: Annotated[
        list[uuid.UUID] | None,
        typer.Option(metavar="JOB", help="It begins when this job has ended; may be repeated.", show_default=False),
    ] = None,
    after_policy: Annotated[
        AfterPolicy, typer.Option(help="How those jobs must have ended; else it never begins.")
    ] = AfterPolicy.SUCCEEDED,
    output: Output = None,
) -> None:
    """Submit a command; prints the job's id."""
    context = of(ctx)
    if plan:
        _plan(context, name, parameters.parse(words or ()), version, as_json=context.wants_json(output), wait=wait)
        return
    if timeout is not None and not wait:
        raise Stop(Exit.USAGE, "--timeout is about waiting; add --wait")
    body = {
        "command": name,
        "parameters": parameters.parse(words or ()),
        "version": version,
        "correlation_id": correlation_id,
        "idempotency_key": idempotency_key or str(uuid.uuid4()),
        "priority": priority,
        "timeout_s": None if deadline is None else parameters.seconds(deadline),
        "ask": ask,
        "wait_for_locks": wait_for_locks,
        "after": [str(each) for each in after or ()],
        "after_policy": after_policy,
    }
    accepted = send(context.client, "/jobs", body)
    as_json = context.wants_json(output)
    if wait:
        if not as_json:
            write(f"job {accepted['job_id']} accepted")
        follow(context.client, accepted["job_id"], timeout_s=timeout, as_json=as_json)
    elif as_json:
        print_json(accepted)
    else:
        write(accepted["job_id"])


def _plan(
    context: Context, name: str, given: dict[str, Any], version: int | None, *, as_json: bool, wait: bool
) -> None:
    """Prints the tree; a command that would be refused ends as if it had been submitted."""
    if wait:
        raise Stop(Exit.USAGE, "--plan runs nothing that one could wait for; leave out --wait")
    found = context.client.post("/plans", {"command": name, "parameters": given, "version": version})
    print_json(found) if as_json else show_plan.plan(found)
    if found["refusals"]:
        raise Stop(Exit.FAILED, *found["refusals"])


def send(client: Client, path: str, body: dict[str, Any]) -> Any:
    """Asks for a job; after an answer that was lost again, safely, since the idempotency key makes it one job."""
    began = time.monotonic()
    lost = False
    while True:
        try:
            return client.post(path, body)
        except (Cut, NoServer) as error:
            lost = lost or isinstance(error, Cut)
            if not lost:
                raise
            if time.monotonic() - began > RESEND_S_MAX:
                raise Stop(
                    Exit.UNKNOWN,
                    *error.reasons,
                    "whether the job was accepted is unknown; repeat the same command with "
                    f"--idempotency-key {body['idempotency_key']} to find out without running it twice",
                ) from None
            time.sleep(RESEND_EVERY_S)


@jobs_group.command("show", epilog=examples("interlock job show 0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"))
def job_show(ctx: typer.Context, job_id: JobId, output: Output = None) -> None:
    """Show a job: steps, tasks, failure, leftovers, result and events."""
    context = of(ctx)
    found = context.client.get(f"/jobs/{job_id}")
    if context.wants_json(output):
        print_json(found)
        return
    why = context.client.get(f"/jobs/{job_id}/why")["words"] if found["ended_at"] is None else ""
    show.job(found, why)


@jobs_group.command("why", epilog=examples("interlock job why 0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"))
def job_why(ctx: typer.Context, job_id: JobId, output: Output = None) -> None:
    """Say why a job is not over yet: what each of its commands that has not ended is waiting for."""
    context = of(ctx)
    found = context.client.get(f"/jobs/{job_id}/why")
    print_json(found) if context.wants_json(output) else show.why(found)


@jobs_group.command("watch", epilog=examples("interlock job watch 0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"))
def job_watch(
    ctx: typer.Context,
    job_id: JobId,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds; the job goes on. Exit code 5.")] = None,
    output: Output = None,
) -> None:
    """Follow a job until it has ended; Ctrl-C leaves it running. The exit code tells how it ended."""
    context = of(ctx)
    follow(context.client, str(job_id), timeout_s=timeout, as_json=context.wants_json(output))


def follow(client: Client, job_id: str, *, timeout_s: float | None, as_json: bool) -> None:
    """Watches, prints the end, and ends the program with the job's code where it is not success."""
    screen = watching.screen(quiet=as_json)
    try:
        job = watching.watch(client, job_id, screen, timeout_s=timeout_s)
    except KeyboardInterrupt:
        screen.close()
        raise Stop(Exit.TIMEOUT, watching.how_to_come_back(client, job_id)) from None
    except Stop as stop:
        screen.close()
        if stop.code in (Exit.TIMEOUT, Exit.UNKNOWN):
            raise Stop(stop.code, *stop.reasons, watching.how_to_come_back(client, job_id)) from None
        raise
    screen.close()
    print_json(job) if as_json else show.end(job)
    code = exits.of_job(job)
    if code is not Exit.SUCCEEDED:
        raise Stop(code)
