"""Parameters as a person types them: `key=text`, repeated for a list, `key:=json` for anything else."""

import json
import re
from collections.abc import Sequence
from typing import Any

from interlock.cli.exits import Exit, Stop


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The parameters as an object; raises Stop naming every word that cannot be read.

    `disks=a disks=b` is the list [a, b]; `disks:=["a"]` the list of one.
    """
    parameters: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    wrong: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            wrong.append(f"{word!r} is not a parameter; write key=text or key:=json")
        elif is_json:
            if key in parameters:
                wrong.append(f"{key} is given twice as JSON; give it once")
            try:
                parameters[key] = json.loads(value, parse_constant=_not_json)
            except (ValueError, RecursionError) as error:
                wrong.append(f"{key}: {value!r} is not JSON ({error})")
        else:
            texts.setdefault(key, []).append(value)
    wrong += [f"{key} is given both as text and as JSON; choose one" for key in texts if key in parameters]
    if wrong:
        raise Stop(Exit.USAGE, *wrong)
    return parameters | {key: values[0] if len(values) == 1 else values for key, values in texts.items()}


def seconds(text: str) -> float:
    """A span of time as a person writes it: `90s`, `15m`, `2h`, `1d`. Raises Stop."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])", text)
    if found is None:
        raise Stop(Exit.USAGE, f"{text!r} is no span of time; write 90s, 15m, 2h or 1d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def _not_json(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON value")
