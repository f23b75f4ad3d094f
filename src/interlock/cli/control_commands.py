"""Control: what people do to a job."""

import uuid
from typing import Annotated, Any

import typer

from interlock.cli import show
from interlock.cli.context import Output, examples, of
from interlock.cli.job_commands import JobId, follow, send
from interlock.cli.output import print_json, write
from interlock.model.locks import PRIORITY_MAX

_EXAMPLE = "0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the record of actions.")]
Target = Annotated[
    uuid.UUID | None,
    typer.Option("--step", help="Only this command, step or task of the job, as `interlock job show` names it."),
]


def register(jobs: typer.Typer) -> None:
    """Adds the commands of this module to `interlock job`."""
    for name, command, example in (
        ("cancel", cancel, f"interlock job cancel {_EXAMPLE} --reason 'wrong disk'"),
        ("stop", stop, f"interlock job stop {_EXAMPLE}"),
        ("restart", restart, f"interlock job restart {_EXAMPLE} --wait"),
        ("pause", pause, f"interlock job pause {_EXAMPLE} --reason 'until the backup is over'"),
        ("resume", resume, f"interlock job resume {_EXAMPLE}"),
        ("priority", priority, f"interlock job priority {_EXAMPLE} 5"),
        ("hide", hide, f"interlock job hide {_EXAMPLE}"),
        ("unhide", unhide, f"interlock job unhide {_EXAMPLE}"),
    ):
        jobs.command(name, epilog=examples(example))(command)


def cancel(
    ctx: typer.Context,
    job_id: JobId,
    step: Target = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="After a cancel: abandon tasks that do not end; each is a leftover."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job until it has ended.")] = False,
    reason: Why = "",
    output: Output = None,
) -> None:
    """Cancel a job, or a part of it: hosts are asked to stop, what completed is undone."""
    body = {"reason": reason, "target": step and str(step), "force": force}
    _wish(ctx, job_id, "cancel", body, output, quiet=wait)
    if wait:
        context = of(ctx)
        follow(context.client, str(job_id), timeout_s=None, as_json=context.wants_json(output))


def stop(ctx: typer.Context, job_id: JobId, step: Target = None, reason: Why = "", output: Output = None) -> None:
    """Stop all tasks of a job, or of a part of it; its commands then end as when tasks fail."""
    _wish(ctx, job_id, "stop", {"reason": reason, "target": step and str(step)}, output)


def pause(ctx: typer.Context, job_id: JobId, reason: Why = "", output: Output = None) -> None:
    """Let nothing of a job begin that has not; what is under way goes on."""
    _wish(ctx, job_id, "pause", {"reason": reason}, output)


def resume(ctx: typer.Context, job_id: JobId, reason: Why = "", output: Output = None) -> None:
    """Let a paused job go on."""
    _wish(ctx, job_id, "resume", {"reason": reason}, output)


def priority(
    ctx: typer.Context,
    job_id: JobId,
    level: Annotated[int, typer.Argument(min=-PRIORITY_MAX, max=PRIORITY_MAX, help="Higher comes first.")],
    reason: Why = "",
    output: Output = None,
) -> None:
    """Change a job's priority, also while it waits."""
    _wish(ctx, job_id, "priority", {"reason": reason, "priority": level}, output)


def hide(ctx: typer.Context, job_id: JobId, reason: Why = "", output: Output = None) -> None:
    """Leave a job out of lists."""
    _wish(ctx, job_id, "hide", {"reason": reason}, output)


def unhide(ctx: typer.Context, job_id: JobId, reason: Why = "", output: Output = None) -> None:
    """Show a hidden job in lists again."""
    _wish(ctx, job_id, "unhide", {"reason": reason}, output)


def restart(
    ctx: typer.Context,
    job_id: JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the new job until it has ended.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again is the same job.")] = None,
    reason: Why = "",
    output: Output = None,
) -> None:
    """Do an ended job once more, as a new one that names the old; prints its id."""
    context = of(ctx)
    body = {"reason": reason, "idempotency_key": idempotency_key or str(uuid.uuid4())}
    accepted = send(context.client, f"/jobs/{job_id}/restart", body)
    if wait:
        follow(context.client, accepted["job_id"], timeout_s=None, as_json=context.wants_json(output))
    elif context.wants_json(output):
        print_json(accepted)
    else:
        write(accepted["job_id"])


def _wish(
    ctx: typer.Context, job_id: uuid.UUID, what: str, body: dict[str, Any], output: Output, *, quiet: bool = False
) -> None:
    context = of(ctx)
    found = context.client.post(f"/jobs/{job_id}/{what}", body)
    if not quiet:
        print_json(found) if context.wants_json(output) else show.jobs([found])
