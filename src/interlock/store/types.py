"""Column types that suit SQLite and PostgreSQL alike."""

import json
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Dialect, LargeBinary, Text, Uuid
from sqlalchemy.types import TypeDecorator, TypeEngine

from interlock.model.refs import Ref


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


class Word(TypeDecorator[StrEnum]):
    """An enum, kept as its value."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


class Positions(TypeDecorator[tuple[int, ...]]):
    """Positions in a plan, as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else positions_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[int, ...] | None:
        return None if value is None else tuple(json.loads(value))


class RefList(TypeDecorator[tuple[Ref[Any], ...]]):
    """Refs as a JSON list of `type:id`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[Ref[Any], ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else refs_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Ref[Any], ...] | None:
        return None if value is None else tuple(Ref.parse(text) for text in json.loads(value))


def positions_text(value: tuple[int, ...]) -> str:
    return json.dumps(value) if value else "[]"


def refs_text(value: tuple[Ref[Any], ...]) -> str:
    return json.dumps([str(ref) for ref in value])
