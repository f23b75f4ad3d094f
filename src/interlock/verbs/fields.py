"""The checked kinds of value that parameters of verbs may have, so that no bad name reaches a file system."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

#: No volume is larger than this: 8 EiB, the end of what a file offset can express.
SIZE_BYTES_MAX = 8 * 1024**6
#: The id that stands for "none" on the wire (no parent volume, no source image).
BLANK_ID = "00000000-0000-0000-0000-000000000000"
TERM_MAX = 2**63 - 1
_UUID_7 = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Kind = TypeVar("Kind", bound=IntEnum)
Word = TypeVar("Word", bound=StrEnum)


def _no_control_characters(text: str) -> str:
    bad = next((char for char in text if unicodedata.category(char).startswith("C")), None)
    if bad is not None:
        raise ValueError(f"must not contain the control character U+{ord(bad):04X}")
    return text


def _plain_name(text: str) -> str:
    if "/" in text:
        raise ValueError("must not contain '/'")
    return _plain_text(text)


def _plain_text(text: str) -> str:
    if text.startswith("-"):
        raise ValueError("must not begin with '-'")
    if text != text.strip():
        raise ValueError("must not begin or end with white space")
    return _no_control_characters(text)


def _not_blank(text: str) -> str:
    if text == BLANK_ID:
        raise ValueError("must not be the blank id")
    return text


def _absolute_folder(text: str) -> str:
    _no_control_characters(text)
    if not text.startswith("/") or text.startswith("//"):
        raise ValueError("must be an absolute path that begins with one '/'")
    if posixpath.normpath(text) != text:
        raise ValueError("must be a normalized path, without '.', '..', '//' or a '/' at its end")
    return text


def numbered(kind: type[Kind]) -> Callable[[object], Kind]:
    """A check that takes exactly the numbers of `kind`: no strings, floats or booleans."""

    def check(value: object) -> Kind:
        if type(value) is not int and not isinstance(value, kind):
            raise ValueError("must be a whole number")
        words = {int(word): word for word in kind}
        found = words.get(value)
        if found is None:
            raise ValueError(f"must be one of {', '.join(f'{n} ({word.name})' for n, word in words.items())}")
        return kind(found)

    return check


def worded(kind: type[Word]) -> Callable[[object], Word]:
    """A check that takes exactly the words of `kind`."""

    def check(value: object) -> Word:
        found = {str(word): word for word in kind}.get(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"must be one of {', '.join(kind)}")
        return found

    return check


#: A UUID in canonical form: lower case, with hyphens.
AnyId = Annotated[str, StringConstraints(pattern=_UUID)]
#: The same, but not the blank one.
Id = Annotated[AnyId, AfterValidator(_not_blank)]
#: The id of a task that a caller starts: version 7, so that ids are ordered by time.
TimeOrderedId = Annotated[str, StringConstraints(pattern=_UUID_7)]
SizeBytes = Annotated[int, Field(gt=0, le=SIZE_BYTES_MAX)]
Term = Annotated[int, Field(ge=0, le=TERM_MAX)]
#: A name of one line: no '/', no leading '-', no control characters.
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_plain_name)]
#: A description of one line; it may be empty.
Description = Annotated[str, StringConstraints(max_length=500), AfterValidator(_plain_name)]
FolderPath = Annotated[str, StringConstraints(min_length=2, max_length=1024), AfterValidator(_absolute_folder)]


class VolumeFormat(IntEnum):
    """What kind of file a volume is."""

    #: A qcow2 file, which may have a parent.
    COW = 4
    #: The bytes of the disk as they are.
    RAW = 5


class Preallocate(IntEnum):
    """Whether room on the disk is taken at creation."""

    PREALLOCATED = 1
    SPARSE = 2


class VolumeType(IntEnum):
    """The place of a volume in its chain."""

    INTERNAL = 4
    #: May be read only and has children in other images (a template's volume).
    SHARED = 6
    #: The one that a VM writes.
    LEAF = 8


class DomainType(IntEnum):
    """How a host reaches the files of a storage domain."""

    LOCALFS = 4


class DomainClass(IntEnum):
    """What a storage domain is for."""

    DATA = 1


VolumeFormatField = Annotated[VolumeFormat, BeforeValidator(numbered(VolumeFormat))]
PreallocateField = Annotated[Preallocate, BeforeValidator(numbered(Preallocate))]
VolumeTypeField = Annotated[VolumeType, BeforeValidator(numbered(VolumeType))]
DomainTypeField = Annotated[DomainType, BeforeValidator(numbered(DomainType))]
DomainClassField = Annotated[DomainClass, BeforeValidator(numbered(DomainClass))]
