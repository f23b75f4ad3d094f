"""What a person may set: each option of the command line, which is a key of the configuration file as well."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from interlock.agent.settings.config import AgentConfig

_SHOWN_CHARS_MAX = 60


@dataclass(frozen=True)
class Kind:
    """A kind of value: what the command line has becomes what the file would have, which is checked."""

    #: From what argparse has to a TOML value.
    from_line: Callable[[Any], object]  # Any: a word, a list of them, or a flag
    #: From a TOML value to the setting's. Raises ValueError with the fact and the remedy.
    check: Callable[[object], Any]  # Any: the setting's own type


@dataclass(frozen=True)
class Option:
    """One thing that can be set, by `key` in the file and by `flag` on the command line."""

    key: str
    kind: Kind
    help: str
    #: What the value is called in the help.
    metavar: str = ""

    @property
    def flag(self) -> str:
        """As in `--listen-port`; a list is given by one option for each of its values."""
        word = self.key.removesuffix("s") if self.kind is FOLDERS else self.key
        return f"--{word.replace('_', '-')}"

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Adds the option; what is not given is None."""
        default = _DEFAULTS.get(self.key)
        shown = f"{self.help} (default: {default})" if default else self.help
        if self.kind is FLAG:
            parser.add_argument(
                self.flag, action=argparse.BooleanOptionalAction, default=None, dest=self.key, help=self.help
            )
        elif self.kind is FOLDERS:
            parser.add_argument(self.flag, action="append", dest=self.key, metavar=self.metavar, help=shown)
        else:
            parser.add_argument(self.flag, dest=self.key, metavar=self.metavar, help=shown)


def shown(value: object) -> str:
    """A value in a message: on one line, and not longer than one likes to read."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{shown(value)} is no text of one line; write some, in quotes")
    return value


def _folder(value: object) -> Path:
    if not isinstance(value, str) or not value.isprintable() or not value.startswith("/"):
        raise ValueError(f"{shown(value)} is no absolute path; write one that begins with '/', in quotes")
    return Path(value)


def _folders(value: object) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise ValueError(f'{shown(value)} is no list; write one of absolute paths, as ["/srv/images"]')
    return tuple(_folder(each) for each in value)


def _number(value: object) -> int:
    if type(value) is not int or abs(value) >> 63:
        raise ValueError(f"{shown(value)} is no whole number of 64 bits; write one in digits")
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{shown(value)} is neither true nor false; write one of them, without quotes")
    return value


def _as_it_is(given: object) -> object:
    return given


def _digits(word: str) -> object:
    """The number that a word is; any other word as it is, to be refused as such."""
    return int(word) if word.isascii() and word.removeprefix("-").isdigit() and len(word) < 20 else word


def _absolute(word: str) -> str:
    return str(Path(word).absolute()) if word else word


def _all_absolute(words: list[str]) -> list[str]:
    return [_absolute(word) for word in words]


TEXT = Kind(_as_it_is, _text)
FOLDER = Kind(_absolute, _folder)
FOLDERS = Kind(_all_absolute, _folders)
NUMBER = Kind(_digits, _number)
FLAG = Kind(_as_it_is, _flag)

#: Every option, in the order in which they are told of. `plain` is no setting: it says that there is no `tls_dir`.
OPTIONS = (
    Option("name", TEXT, "the host's name", "NAME"),
    Option("state_dir", FOLDER, "folder of the journal and of the socket for people; one per agent", "DIR"),
    Option("storage_roots", FOLDERS, "a folder in which storage domains may lie; may be given several times", "DIR"),
    Option("listen_host", TEXT, "address to listen on", "ADDRESS"),
    Option("listen_port", NUMBER, "port; 0 for any: see <state-dir>/port", "PORT"),
    Option("tls_dir", FOLDER, "folder with ca.pem, cert.pem and key.pem", "DIR"),
    Option("plain", FLAG, "no TLS; only on a loopback address"),
    Option("stock", FLAG, "behave as a VDSM host without the extension"),
    Option("workers", NUMBER, "tasks at work at once", "N"),
    Option("unfinished_tasks_max", NUMBER, "tasks at work or waiting; beyond them starts are refused", "N"),
    Option("lock_timeout_s", NUMBER, "seconds that a task waits for an image that another one works on", "N"),
    Option("copy_rate_bytes_per_s", NUMBER, "slow every copy down to N bytes per second", "N"),
    Option("qemu_img", TEXT, "the program that makes and copies images", "PROGRAM"),
    Option("json_logs", FLAG, "log one JSON object per line"),
)
_DEFAULTS = {field.name: field.default for field in fields(AgentConfig) if field.default is not MISSING}
