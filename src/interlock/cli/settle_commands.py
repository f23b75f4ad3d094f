"""Settling: what a person decides about a command that needs attention, or that asks since a part of it failed."""

import uuid
from typing import Annotated

import typer

from interlock.cli import show
from interlock.cli.context import Output, examples, of
from interlock.cli.job_commands import JobId
from interlock.cli.output import print_json
from interlock.model.decisions import Decision

_EXAMPLE = "0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"
CommandId = Annotated[
    uuid.UUID | None,
    typer.Option("--step", "--command", help="Which one, where several need attention or have failed."),
]
Reason = Annotated[str, typer.Option(help="What you found or did; kept for ever.", show_default=False)]
LeaveTasks = Annotated[
    bool, typer.Option("--leave-tasks", help="Make leftovers of tasks that may still run, instead of refusing.")
]


def register(jobs: typer.Typer) -> None:
    """Adds the commands of this module to `interlock job`."""
    jobs.command("retry", epilog=examples(f"interlock job retry {_EXAMPLE} --reason 'the database is back'"))(retry)
    jobs.command("skip", epilog=examples(f"interlock job skip {_EXAMPLE} --reason 'copied by hand'"))(skip)
    jobs.command(
        "force-success", epilog=examples(f"interlock job force-success {_EXAMPLE} --reason 'attached it by hand'")
    )(force_success)
    jobs.command(
        "force-failure", epilog=examples(f"interlock job force-failure {_EXAMPLE} --reason 'removed it by hand'")
    )(force_failure)


def retry(ctx: typer.Context, job_id: JobId, reason: Reason, command: CommandId = None, output: Output = None) -> None:
    """Try again what needs attention, or the steps that failed where a job asks; what succeeded is kept."""
    _settle(ctx, job_id, Decision.RETRY, reason, command, False, output)


def skip(ctx: typer.Context, job_id: JobId, reason: Reason, command: CommandId = None, output: Output = None) -> None:
    """Go on without the steps that failed, where a job asks. It then ends with warnings."""
    _settle(ctx, job_id, Decision.SKIP, reason, command, False, output)


def force_success(
    ctx: typer.Context,
    job_id: JobId,
    reason: Reason,
    command: CommandId = None,
    leave_tasks: LeaveTasks = False,
    output: Output = None,
) -> None:
    """End what needs attention as succeeded, on your word. None of its phases is run."""
    _settle(ctx, job_id, Decision.FORCE_SUCCESS, reason, command, leave_tasks, output)


def force_failure(
    ctx: typer.Context,
    job_id: JobId,
    reason: Reason,
    command: CommandId = None,
    leave_tasks: LeaveTasks = False,
    output: Output = None,
) -> None:
    """End what needs attention as failed. None of its phases is run, and nothing is undone."""
    _settle(ctx, job_id, Decision.FORCE_FAILURE, reason, command, leave_tasks, output)


def _settle(
    ctx: typer.Context,
    job_id: uuid.UUID,
    decision: Decision,
    reason: str,
    command: uuid.UUID | None,
    leave_tasks: bool,
    output: Output,
) -> None:
    context = of(ctx)
    body = {
        "decision": decision,
        "reason": reason,
        "command_id": None if command is None else str(command),
        "leave_tasks": leave_tasks,
    }
    found = context.client.post(f"/jobs/{job_id}/settle", body)
    print_json(found) if context.wants_json(output) else show.jobs([found])
