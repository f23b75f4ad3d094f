"""The command line: a client of the API, and the way to start server and agent."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point `interlock`; ends the process with one of the codes of `exits.Exit`."""
    from interlock.cli.program import run  # late: `import interlock.cli` stays cheap

    raise SystemExit(run(arguments))
