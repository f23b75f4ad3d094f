"""Column types that suit SQLite and PostgreSQL alike."""

import json
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Dialect, LargeBinary, Uuid
from sqlalchemy import Text as PlainText
from sqlalchemy.types import TypeDecorator, TypeEngine

from interlock.model.refs import Ref

T = TypeVar("T")


class _AsText(TypeDecorator[T]):
    """Sorted by code points everywhere, whatever the locale of the database or of its host."""

    impl = PlainText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(PlainText(collation="C") if dialect.name == "postgresql" else PlainText())


class Text(_AsText[str]):
    """Text, as it is. JSON too is kept as text: what is stored is what was digested and sent, a JSONB column
    would refuse \\u0000 and reorder keys, and no query looks inside."""

    cache_ok = True


class Id(TypeDecorator[UUID]):
    """A UUID: native on PostgreSQL, its 16 bytes on SQLite (which sort by time as version 7 does)."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        native = dialect.name == "postgresql"
        return dialect.type_descriptor(Uuid() if native else LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else value.bytes

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        return value if value is None or isinstance(value, UUID) else UUID(bytes=value)


class Word(_AsText[StrEnum]):
    """An enum, kept as its value."""

    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


class Positions(_AsText[tuple[int, ...]]):
    """Positions in a plan, as a JSON list."""

    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else positions_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[int, ...] | None:
        return None if value is None else tuple(json.loads(value))


class RefList(_AsText[tuple[Ref[Any], ...]]):
    """Refs as a JSON list of `type:id`."""

    cache_ok = True

    def process_bind_param(self, value: tuple[Ref[Any], ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else refs_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Ref[Any], ...] | None:
        return None if value is None else tuple(Ref.parse(text) for text in json.loads(value))


def positions_text(value: tuple[int, ...]) -> str:
    return json.dumps(value) if value else "[]"


def refs_text(value: tuple[Ref[Any], ...]) -> str:
    return json.dumps([str(ref) for ref in value])
