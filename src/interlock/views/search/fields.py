"""What a query may name: fields as data, and entities by what refers to them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement


class Kind(StrEnum):
    """What a field holds, and so what it may be compared with."""

    #: = and !=, with * for anything
    TEXT = "text"
    #: one of the field's words, in any case
    WORD = "word"
    NUMBER = "number"
    #: a moment, or how long ago
    TIME = "time"
    #: as 90s, 15m, 2h, 1d
    SPAN = "span"
    #: yes or no
    FLAG = "yes or no"
    ID = "id"


@dataclass(frozen=True, eq=False)
class Field:
    """A field of a collection. `value` is what rows have there, None where they may have nothing."""

    name: str
    kind: Kind
    value: ColumnElement[Any]
    about: str
    words: tuple[str, ...] = ()
    nullable: bool = False


@dataclass(frozen=True, eq=False)
class Link:
    """Columns of a table that says which rows name which entities; `of` are the conditions for rows of ours."""

    owner: ColumnElement[Any]
    type: ColumnElement[Any]
    id: ColumnElement[Any]
    of: tuple[ColumnElement[bool], ...] = ()


@dataclass(frozen=True)
class Subject:
    """`vm.name` or `vm.id`: of the entities that a row names. Of any type where `type` is None."""

    type: str | None
    by: str  # name or id
    link: Link
    #: how it is called where that does not follow
    alias: str | None = None
    about: str = ""

    @property
    def name(self) -> str:
        return self.alias or f"{self.type or ANY}.{self.by}"

    @property
    def kind(self) -> Kind:
        return Kind.ID if self.by == "id" else Kind.TEXT


#: stands for entities of all types
ANY = "entity"
#: what there is of a subject
SUBJECT_PARTS = ("name", "id")
