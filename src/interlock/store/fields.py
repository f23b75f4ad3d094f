"""Which columns the fields of a record become."""

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum, StrEnum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

from sqlalchemy import BigInteger, Boolean
from sqlalchemy.types import TypeEngine

from interlock.model.refs import Ref
from interlock.store.types import Id, Positions, RefList, Text, Word


class Kind(Enum):
    """How a field is kept."""

    #: text or an integer, as it is
    PLAIN = "plain"
    #: a boolean
    FLAG = "flag"
    #: a UUID
    ID = "id"
    #: an enum's value
    WORD = "word"
    #: two columns, type and id
    REF = "ref"
    #: rows of an association table, in their order
    REFS = "refs"
    #: refs as JSON in the row itself
    REF_LIST = "ref list"
    #: positions as JSON
    POSITIONS = "positions"


@dataclass(frozen=True, slots=True)
class Field:
    """A record's field: its kind, its columns with their types, whether it may be None."""

    name: str
    kind: Kind
    nullable: bool
    columns: tuple[tuple[str, TypeEngine[Any]], ...]
    words: tuple[str, ...] = ()


def fields_of(record: type, *, bare_ref: bool = False, refs_inside: bool = False) -> tuple[Field, ...]:
    """The fields of a record class in their order.

    With `bare_ref` a field `ref` becomes the columns `type` and `id` instead of `ref_type` and `ref_id`;
    with `refs_inside` a tuple of refs is kept in the row instead of an association table.
    """
    hints = get_type_hints(record)
    return tuple(_field(field.name, hints[field.name], bare_ref, refs_inside) for field in dataclass_fields(record))


def _field(name: str, hint: Any, bare_ref: bool, refs_inside: bool) -> Field:
    nullable = NoneType in get_args(hint)
    if nullable:
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is Ref:
        prefix = "" if bare_ref else f"{name}_"
        return Field(name, Kind.REF, nullable, ((f"{prefix}type", Text()), (f"{prefix}id", Id())))
    if get_origin(hint) is tuple:
        return _tuple_field(name, get_args(hint)[0], refs_inside)
    if hint is bool:
        return Field(name, Kind.FLAG, nullable, ((name, Boolean()),))
    if hint is UUID:
        return Field(name, Kind.ID, nullable, ((name, Id()),))
    if issubclass(hint, StrEnum):
        words = tuple(word.value for word in hint)
        return Field(name, Kind.WORD, nullable, ((name, Word(hint)),), words)
    column: TypeEngine[Any] = BigInteger() if hint is int else Text()
    return Field(name, Kind.PLAIN, nullable, ((name, column),))


def _tuple_field(name: str, member: Any, refs_inside: bool) -> Field:
    if get_origin(member) is not Ref:
        return Field(name, Kind.POSITIONS, False, ((name, Positions()),))
    if refs_inside:
        return Field(name, Kind.REF_LIST, False, ((name, RefList()),))
    return Field(name, Kind.REFS, False, ())
