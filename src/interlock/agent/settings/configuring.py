"""From a configuration file and the words of the command line to an agent's settings, or to all that is wrong."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlock.agent.settings.config import AgentConfig, BadConfig, mistakes
from interlock.agent.settings.options import OPTIONS, Option, shown

_FILE_BYTES_MAX = 1 << 20
_TRANSPORTS = ("tls_dir", "plain")
_REQUIRED = ("name", "state_dir", "storage_roots")
_BY_KEY = {option.key: option for option in OPTIONS}


def read_file(path: Path) -> dict[str, Any]:  # Any: TOML values
    """What a configuration file says, unchecked. Raises `BadConfig`."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        if len(data) > _FILE_BYTES_MAX:
            raise BadConfig(f"{path}: has more than {_FILE_BYTES_MAX} bytes; name the agent's configuration file")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read: {error.strerror}; name a file that you may read") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or one that is made to exhaust its reader
        raise BadConfig(f"{path}: is no TOML: {error}; write it as the example file is written") from None


def state_dir_in(path: Path) -> Path:
    """The state folder that a configuration file names, whatever else is in it. Raises `BadConfig`."""
    gathered = _Gathered()
    found = {key: value for key, value in read_file(path).items() if key == "state_dir"}
    gathered.take_file(path, found)
    if not found:
        raise BadConfig(f"{path}: has no state_dir; write it there, or name the folder itself")
    if gathered.mistakes:
        raise BadConfig(*gathered.mistakes)
    folder: Path = gathered.values["state_dir"]
    return folder


def configured(words: Mapping[str, Any], file: Path | None) -> AgentConfig:
    """The settings. `words` has what the command line gives, by key; it counts more than the file.

    Raises `BadConfig` with every mistake of both.
    """
    gathered = _Gathered()
    if file is not None:
        gathered.take_file(file, read_file(file))
    gathered.take_words(words)
    gathered.check(file)
    if gathered.mistakes:
        raise BadConfig(*gathered.mistakes)
    return AgentConfig(**{key: value for key, value in gathered.values.items() if key != "plain"})


class _Gathered:
    """Settings as they come together: their values, where each was said, and what is wrong."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}  # Any: each of its setting's type
        self.mistakes: list[str] = []
        self._said_in: dict[str, str] = {}

    def take_file(self, path: Path, found: Mapping[str, Any]) -> None:
        for key, value in found.items():
            if key in _BY_KEY:
                self._take(_BY_KEY[key], value, f"{path}: {key}")
            else:
                near = difflib.get_close_matches(key, _BY_KEY, 1)
                remedy = f"is {near[0]} meant?" if near else f"there are {', '.join(_BY_KEY)}"
                self.mistakes.append(f"{path}: {shown(key)} is no key; {remedy}")

    def take_words(self, words: Mapping[str, Any]) -> None:
        if any(key in words for key in _TRANSPORTS):
            for key in _TRANSPORTS:
                self._forget(key)
        for option in OPTIONS:
            if option.key in words:
                self._take(option, option.kind.from_line(words[option.key]), option.flag)

    def check(self, file: Path | None) -> None:
        """Looks at what is there and at what is not."""
        where = f" or, in {file}, " if file is not None else ", or --config and there "
        for key in _REQUIRED:
            if key not in self._said_in:
                self.mistakes.append(f"there is no {key}; give {_BY_KEY[key].flag}{where}{key}")
        if self.values.get("plain") and "tls_dir" in self.values:
            self.mistakes.append(f"{self._said_in['plain']}: there is a tls_dir, too; choose one of them")
        elif not self.values.get("plain") and "tls_dir" not in self._said_in:
            self.mistakes.append(f"there is no certificate; give --tls-dir{where}tls_dir; on loopback, --plain will do")
        self.mistakes += [f"{self._said_in[key]}: {fact}" for key, fact in mistakes(self.values)]

    def _take(self, option: Option, value: object, said_in: str) -> None:
        self._forget(option.key)
        self._said_in[option.key] = said_in
        try:
            self.values[option.key] = option.kind.check(value)
        except ValueError as wrong:
            self.mistakes.append(f"{said_in}: {wrong}")

    def _forget(self, key: str) -> None:
        self.values.pop(key, None)
        self._said_in.pop(key, None)
