"""The agent's command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from interlock import logs
from interlock.agent.durable import FsyncFailed
from interlock.agent.journal.format import OtherVersion
from interlock.agent.serving.server import CannotStart, run
from interlock.agent.settings.config import BadConfig
from interlock.agent.settings.configuring import configured
from interlock.agent.settings.options import OPTIONS
from interlock.wire.server import PlainRefused

#: Exit statuses: what is not there now may be there at the next start; what is told wrongly stays wrong.
FAILED = 1
USAGE = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; `{self.prog} --help` tells of the options\n")


def _parser(prog: str, epilog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description="Run the host agent: it makes, copies and removes disk images for a coordinator.\n"
        "Each option is a key of the configuration file, too, with '_' for '-'; the command line counts more.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a configuration file, in TOML")
    for option in OPTIONS:
        option.add_to(parser)
    return parser


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m interlock.agent", epilog: str = "") -> int:
    """Runs the agent; returns the exit status: 0 ended by a signal, FAILED, or USAGE where it was told wrongly.

    Raises SystemExit with the same statuses after `--help` and after options that there are not.
    """
    parsed = vars(_parser(prog, epilog).parse_args(arguments))
    file = parsed.pop("config")
    words = {key: value for key, value in parsed.items() if value is not None}
    try:
        config = configured(words, file)
        logs.configure(json_lines=config.json_logs)
        asyncio.run(run(config))
    except BadConfig as error:
        return _refused(USAGE, *error.mistakes)
    except PlainRefused as error:
        return _refused(USAGE, str(error))
    except (CannotStart, FsyncFailed, OtherVersion, OSError) as error:
        return _refused(FAILED, str(error))
    return 0


def _refused(status: int, *reasons: str) -> int:
    for reason in reasons:
        sys.stderr.write(f"interlock agent: {reason}\n")
    return status
