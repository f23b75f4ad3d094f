"""The checked kinds of parameter that people give: names, sizes, addresses, folders, and disks to make."""

import ipaddress
import posixpath
import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BeforeValidator, Field

from interlock.vdsm import SIZE_BYTES_MAX
from interlock.virt.entities import DiskFormat

NAME_LENGTH_MAX = 255
PATH_LENGTH_MAX = 1024
#: disks that one command may make
DISKS_MAX = 256

_UNITS = {letter: int(1024**power) for power, letter in enumerate("BKMGTPE")}
_SIZE = re.compile(r"([0-9]{1,20}) ?(B|[KMGTPE](?:iB)?)?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NAME_REMEDY = f"choose a name of 1 to {NAME_LENGTH_MAX} characters, such as web-1"
_SIZE_REMEDY = "give bytes, or a whole number with K, M, G, T, P or E (powers of 1024), such as 10GiB"
_PATH_REMEDY = "give an absolute path such as /srv/images"


def _control_character(text: str) -> str | None:
    """The first character that a name or path must not have, as U+0000."""
    found = next((char for char in text if unicodedata.category(char).startswith("C")), None)
    return None if found is None else f"U+{ord(found):04X}"


def _reads_as_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _name_fault(text: str) -> str | None:
    """What is wrong with a name; None where it is good."""
    control = _control_character(text)
    faults = {
        "the name is empty": not text,
        f"the name has {len(text)} characters": len(text) > NAME_LENGTH_MAX,
        f"the name contains the control character {control}": control is not None,
        "the name contains '/'": "/" in text,
        "the name contains ':', which could make it a protocol to a disk tool": ":" in text,
        "the name begins with '-', like an option": text.startswith("-"),
        "the name begins or ends with white space": text != text.strip(),
        "'.' and '..' name folders": text in (".", ".."),
        "the name looks like an id": _reads_as_id(text),
    }
    return next((fault for fault, is_so in faults.items() if is_so), None)


def read_name(value: object) -> str:
    """A name that is safe in a file name, a command line and a disk tool; ValueError says what is wrong."""
    if not isinstance(value, str):
        raise ValueError(f"the name is not text; {_NAME_REMEDY}")
    fault = _name_fault(value)
    if fault is not None:
        raise ValueError(f"{fault}; {_NAME_REMEDY}")
    return value


def read_size(value: object) -> int:
    """Bytes, from a whole number or from text such as `10GiB` or `512M`; ValueError says what is wrong."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            raise ValueError(f"the size cannot be read; {_SIZE_REMEDY}")
        size = int(found[1]) * _UNITS[(found[2] or "B")[0]]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise ValueError(f"the size is not a whole number of bytes; {_SIZE_REMEDY}")
    if size < 1:
        raise ValueError(f"the size is less than 1 byte; {_SIZE_REMEDY}")
    if size > SIZE_BYTES_MAX:
        raise ValueError(f"the size is more than 8 EiB, which no disk can have; {_SIZE_REMEDY}")
    return size


def is_host_name(text: str) -> bool:
    """Whether text can be a DNS name, and so stand in a certificate."""
    labels = text.split(".")
    return len(text) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in labels)


def read_address(value: object) -> str:
    """A DNS name or an IP address; ValueError says what is wrong."""
    if isinstance(value, str) and (is_host_name(value) or _ip_address(value) is not None):
        return value
    raise ValueError("not a DNS name or an IP address; give one such as host1.example.org or 192.0.2.7")


def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_loopback(address: str) -> bool:
    """Whether the address never leaves its own machine."""
    ip = _ip_address(address)
    return address == "localhost" if ip is None else ip.is_loopback


def read_folder(value: object) -> str:
    """An absolute, normalized path of a folder; ValueError says what is wrong."""
    if not isinstance(value, str):
        raise ValueError(f"the path is not text; {_PATH_REMEDY}")
    if not 2 <= len(value) <= PATH_LENGTH_MAX:
        raise ValueError(f"the path has {len(value)} characters, not 2 to {PATH_LENGTH_MAX}; {_PATH_REMEDY}")
    control = _control_character(value)
    if control is not None:
        raise ValueError(f"the path contains the control character {control}; {_PATH_REMEDY}")
    if not value.startswith("/") or value.startswith("//") or posixpath.normpath(value) != value:
        raise ValueError(
            f"the path is not absolute and normalized (no '.', '..', '//', '/' at its end); {_PATH_REMEDY}"
        )
    return value


Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX), BeforeValidator(read_name)]
#: bytes
Size = Annotated[int, Field(ge=1, le=SIZE_BYTES_MAX), BeforeValidator(read_size)]
Address = Annotated[str, BeforeValidator(read_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
Folder = Annotated[str, BeforeValidator(read_folder)]


@dataclass(frozen=True, kw_only=True)
class DiskSpec:
    """A disk to make; from text it is read as `10GiB` or `10GiB:RAW`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    size: Size
    format: DiskFormat = DiskFormat.COW


def _read_spec(value: Any) -> Any:  # Any: whatever a person gave; pydantic judges the rest
    if isinstance(value, int):
        return {"size": value}
    if not isinstance(value, str):
        return value
    size, colon, kind = value.partition(":")
    return {"size": size, "format": kind} if colon else {"size": size}


def _read_specs(value: Any) -> Any:  # Any: as above
    return (value,) if isinstance(value, (int, str, dict, DiskSpec)) else value


DiskSpecs = Annotated[
    tuple[Annotated[DiskSpec, BeforeValidator(_read_spec)], ...],
    Field(max_length=DISKS_MAX),
    BeforeValidator(_read_specs),
]
