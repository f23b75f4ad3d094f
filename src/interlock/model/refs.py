"""Refs: `(type, id)` naming an entity; written `vm:0192f0c1-…`."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar, final, get_args
from uuid import UUID

from interlock.model.text import is_storable

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema, core_schema

#: characters of a ref or name in text; a refusal repeats it
TEXT_LENGTH_MAX = 1000

E_co = TypeVar("E_co", covariant=True)


@final
class Ref(Generic[E_co]):
    """Names one entity. `Ref[Vm]` as a field's type accepts only refs of Vm's entity type.

    From text it is read as `type:id`, or as `id` alone, or, where the context has `resolve`
    (a function of entity type and name), by name.
    """

    # Not a dataclass: pydantic would read it as one, and never ask for the schema below.
    __slots__ = ("id", "type")
    type: str
    id: UUID

    def __init__(self, type: str, id: UUID) -> None:
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "id", id)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a ref cannot be changed; make another one than {self}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Ref, (self.type, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and self.id == other.id and self.type == other.type

    def __hash__(self) -> int:
        return hash((self.type, self.id))

    def __repr__(self) -> str:
        return f"Ref({self.type!r}, {self.id!r})"

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Ref[Any]":
        """Reads `type:id`; ValueError says what is wrong."""
        kind, colon, rest = text.partition(":")
        if not colon or not kind or not is_storable(kind):
            raise ValueError(f"{text!r} is not a ref; write type:id")
        return Ref(kind, UUID(rest))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema  # late: the command line has refs, and no schemas

        wanted = _type_name(source)

        def read(value: Any, info: "core_schema.ValidationInfo") -> Ref[Any]:
            return _read(value, wanted, (info.context or {}).get("resolve"))

        return core_schema.with_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
            metadata={
                "pydantic_js_functions": [
                    lambda _schema, _handler: {"type": "string", "format": "ref", "entity": wanted}
                ]
            },
        )


def _type_name(source: Any) -> str | None:
    """The entity type of `Ref[Vm]`; None where it is any."""
    for argument in get_args(source):
        name = getattr(argument, "entity_type", None)
        if isinstance(name, str):
            return name
    return None


def _read(value: Any, wanted: str | None, resolve: Any) -> Ref[Any]:
    if isinstance(value, str):
        if len(value) > TEXT_LENGTH_MAX:
            raise ValueError(f"the ref has {len(value)} characters; write type:id, or a name")
        value = _from_text(value, wanted, resolve)
    if not isinstance(value, Ref):
        raise ValueError("not a ref; write type:id, or a name")
    if wanted is not None and value.type != wanted:
        raise ValueError(f"{value} names a {value.type}; a {wanted} is needed")
    return value


def _from_text(text: str, wanted: str | None, resolve: Any) -> Ref[Any]:
    kind, colon, rest = text.partition(":")
    if colon and not is_storable(kind):
        raise ValueError(f"{text!r} is not a ref; write type:id")
    try:
        return Ref(kind, UUID(rest)) if colon else Ref(wanted or "", UUID(text))
    except ValueError:
        if resolve is None or (wanted is None and not colon):
            raise ValueError(f"{text!r} is not a ref; write type:id") from None
    entity_type, name = (kind, rest) if wanted is None else (wanted, text.removeprefix(f"{wanted}:"))
    found = resolve(entity_type, name)
    if found is None:
        raise ValueError(f"there is no {entity_type} named {name!r}; `interlock entity {entity_type}` lists them")
    return Ref(entity_type, found)
