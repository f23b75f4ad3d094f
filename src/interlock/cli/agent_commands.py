"""A host's agent: starting it, and looking after its tasks as a person at that host."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from interlock.cli import agent_show
from interlock.cli.agent_asking import STATE_DEFAULT, STATE_VARIABLE, HostAgent, Json
from interlock.cli.context import Output, examples, of
from interlock.cli.exits import Exit, Stop
from interlock.cli.output import complain, print_json, write

#: how many tasks are listed unless all are wanted, and how many an agent has at most
LISTED, LISTED_MAX = 50, 10_000

TaskId = Annotated[
    str, typer.Argument(metavar="ID", help="The task's id, or enough of its beginning.", show_default=False)
]
#: whoever may not read these is told so by who tries, and with another exit code
StateDir = Annotated[
    Path | None,
    typer.Option(
        help=f"The agent's state folder (default: --config's, ${STATE_VARIABLE}, {STATE_DEFAULT}).", readable=False
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="The agent's configuration file, which names its state folder.", readable=False)
]
Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds; what was begun goes on. Exit code 5.")]


class _Group(TyperGroup):
    """Its first word names a command, as usual; where it is an option, all words are for the agent itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: click's context, wherever Typer keeps it
        if args and not args[0].startswith("-"):
            return super().parse_args(ctx, args)
        ctx.args = list(args)
        return args


group = typer.Typer(cls=_Group, invoke_without_command=True, rich_markup_mode=None, add_help_option=False)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(group, name="agent")


@group.callback()
def agent(ctx: typer.Context) -> None:
    """Run a host's agent, or look after its tasks."""
    if ctx.invoked_subcommand is not None:
        return
    from interlock import app  # late: everything hangs from it

    status = app.agent(ctx.args, epilog=_epilog())
    if status != Exit.SUCCEEDED:
        raise Stop(Exit(status) if status == Exit.USAGE else Exit.FAILED)


def _epilog() -> str:
    commands = {each.name or "": inspect.getdoc(each.callback) or "" for each in group.registered_commands}
    width = max(map(len, commands))
    lines = [f"  interlock agent {name.ljust(width)}  {doc.splitlines()[0]}" for name, doc in commands.items()]
    started = examples("interlock agent --config /etc/interlock/agent.toml").removeprefix("\b\n")
    return "\n".join(["While it runs, on this host:", *lines, "", started])


@group.command("tasks", epilog=examples("interlock agent tasks", "interlock agent tasks --all -o json"))
def tasks(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help=f"Also those beyond the first {LISTED}.")] = False,
    state_dir: StateDir = None,
    config: Config = None,
    output: Output = None,
) -> None:
    """List this host's tasks: unfinished ones first, then the newest."""
    found = HostAgent(state_dir, config).ask("Agent.getTasks", limit=LISTED_MAX if every else LISTED)
    listed, total = found["tasks"], found["total"]
    print_json(found) if of(ctx).wants_json(output) else agent_show.tasks(listed)
    if (damage := found["journal_damage"]) is not None:
        complain(agent_show.damage(damage))
    if len(listed) < total:
        complain(f"interlock: {len(listed)} of {total} tasks are shown; --all shows the rest")


@group.command("show", epilog=examples("interlock agent show 0192f0c1-7a3e", "interlock agent show 0192f0c1 -o json"))
def show(
    ctx: typer.Context, task_id: TaskId, state_dir: StateDir = None, config: Config = None, output: Output = None
) -> None:
    """Show one task: state, message, parameters, processes, and what it may have to undo."""
    found = HostAgent(state_dir, config).find(task_id)
    print_json(found) if of(ctx).wants_json(output) else agent_show.task(found)


@group.command("stop", epilog=examples("interlock agent stop 0192f0c1-7a3e", "interlock agent stop 0192f0c1 --force"))
def stop(
    ctx: typer.Context,
    task_id: TaskId,
    force: Annotated[bool, typer.Option("--force", help="Give up undoing, too: something may remain.")] = False,
    timeout: Timeout = None,
    state_dir: StateDir = None,
    config: Config = None,
    output: Output = None,
) -> None:
    """Stop a task and wait until it has undone what it did; Ctrl-C leaves it to that.

    Exit code 0: it is over, and nothing of it remains. 1: it had succeeded before, or something of it may remain.
    """
    params = {"force": True} if force else {}
    task = _changed(HostAgent(state_dir, config), task_id, "Task.stop", timeout, of(ctx).wants_json(output), **params)
    if task["result"] == "success":
        reason = "had succeeded before it could be stopped; `interlock agent revert` undoes it"
        raise Stop(Exit.FAILED, f"task {task['id']} {reason}")


@group.command("revert", epilog=examples("interlock agent revert 0192f0c1-7a3e"))
def revert(
    ctx: typer.Context,
    task_id: TaskId,
    timeout: Timeout = None,
    state_dir: StateDir = None,
    config: Config = None,
    output: Output = None,
) -> None:
    """Undo a task that succeeded, and wait for the end of that; Ctrl-C leaves it to go on.

    Exit code 0: nothing of it remains. 1: something may, or it was not undone.
    """
    task = _changed(HostAgent(state_dir, config), task_id, "Task.revert", timeout, of(ctx).wants_json(output))
    if task["result"] == "success":
        raise Stop(Exit.FAILED, f"task {task['id']} has succeeded and was not undone; revert it again")


@group.command("clear", epilog=examples("interlock agent clear 0192f0c1-7a3e"))
def clear(task_id: TaskId, state_dir: StateDir = None, config: Config = None) -> None:
    """Forget a task that is over; a coordinator that still asks about it takes it for lost."""
    host = HostAgent(state_dir, config)
    found = host.find(task_id)["id"]
    host.ask("Task.clear", taskID=found)
    write(f"task {found} is cleared")


def _changed(
    host: HostAgent, beginning: str, method: str, timeout_s: float | None, as_json: bool, **params: Any
) -> Json:
    """The task after the change, at its end. Ends the program where something of it may remain."""
    emit = complain if as_json else write
    found = host.find(beginning)["id"]
    task = host.change(found, method, lambda task: emit(agent_show.progress(task)), timeout_s=timeout_s, **params)
    print_json(task) if as_json else write(agent_show.end(task))
    if task["result"] == "cleanFailure":
        raise Stop(Exit.FAILED, f"something of task {found} may remain on this host")
    return task
