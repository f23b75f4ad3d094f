"""What a task whose fate is not known may have left on the host, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.agent.records import HostTask

#: How many ids of one kind are named.
_NAMED_MAX = 10
#: The parameters that say where a verb works, and what their ids name. What is only read is not among them.
_HERE = {
    "imageID": "image",
    "img_id": "image",
    "volumeID": "volume",
    "volumeList": "volume",
    "vol_id": "volume",
    "top_id": "volume",
    "base_id": "volume",
    "storagedomainID": "domain",
    "sd_id": "domain",
}
#: The parameters that say where its result goes.
_THERE = {"dstImgUUID": "image", "dstVolUUID": "volume", "dstSdUUID": "domain"}
_TARGET = "destination"

_Place = dict[str, list[str]]


def may_have_left(task: HostTask) -> str:
    """The task's method and what it may have made or changed, by id.

    For instance "Volume.copy may have left image A volume B in domain C (from image D volume E in domain F)".
    """
    here, there = _places(task.params)
    if there:
        target = {"image": here.get("image", []), **there}
        words = f"{_words(target)} (from {_words(here)})"
    else:
        words = _words(here) or ", ".join(f"{name} {value}" for name, value in task.params.items() if _is_id(value))
    return f"{task.method} may have left {words or 'something that its parameters do not name'}"


def _places(params: Mapping[str, Any]) -> tuple[_Place, _Place]:  # Any: JSON values
    """Where the verb works, and where its result goes if that is elsewhere."""
    here, there = _Place(), _Place()
    for name, value, is_target in _flat(params, is_target=False):
        place, word = (there, _THERE.get(name)) if name in _THERE else (there if is_target else here, _HERE.get(name))
        if word is not None:
            place.setdefault(word, []).append(value)
    return here, there


def _flat(params: Mapping[str, Any], *, is_target: bool) -> Iterator[tuple[str, str, bool]]:  # Any: JSON values
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, is_target=name == _TARGET)
        else:
            yield from ((name, str(each), is_target) for each in (value if isinstance(value, list) else [value]))


def _words(place: _Place) -> str:
    """An image and its volumes, and the domain that they lie in."""
    inside = [_named(word, place[word]) for word in ("image", "volume") if place.get(word)]
    domain = [_named("domain", place["domain"])] if "domain" in place else []
    return " in ".join([" ".join(inside), *domain] if inside else domain)


def _named(word: str, ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED_MAX} more" if len(ids) > _NAMED_MAX else ""
    return f"{word} {', '.join(ids[:_NAMED_MAX])}{more}"


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) == 36 and value.count("-") == 4
