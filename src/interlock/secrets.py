"""Secrets as a type: shown nowhere, encrypted at rest, compared by HMAC."""

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")
REDACTED = "***"


class Secret(Generic[T]):
    """A value that prints as `***`. `reveal()` is the only way to it.

    As JSON it is `{"sealed": "…"}` with a Keyring as `keyring` in the context, an HMAC of the value with
    one as `digest`, otherwise `***`. As Python values with `reveal` it stays itself.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(get_args(source)[0] if get_args(source) else str)

        def opened(value: Any, info: core_schema.ValidationInfo) -> Any:
            keyring = (info.context or {}).get("keyring")
            if isinstance(value, dict) and set(value) == {"sealed"}:
                if keyring is None:
                    raise ValueError("a sealed secret cannot be read here: no key is given")
                return keyring.open(value["sealed"])
            return value

        def sealed(value: "Secret[Any]", info: core_schema.SerializationInfo) -> Any:
            context = info.context or {}
            if "digest" in context:
                return context["digest"].digest(str(value.reveal()))
            if context.get("reveal"):
                return value
            keyring = context.get("keyring")
            return {"sealed": keyring.seal(str(value.reveal()))} if keyring else REDACTED

        from_plain = core_schema.chain_schema(
            [
                core_schema.with_info_plain_validator_function(opened, json_schema_input_schema=inner),
                inner,
                core_schema.no_info_plain_validator_function(cls),
            ]
        )
        return core_schema.json_or_python_schema(
            json_schema=from_plain,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_plain]),
            serialization=core_schema.plain_serializer_function_ser_schema(sealed, info_arg=True),
        )


class MissingKey(Exception):
    """A stored secret was sealed with a key that this process does not have."""


class Keyring:
    """The key that seals secrets (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)
        self._hmac_key = hashlib.sha256(b"interlock digest" + key).digest()

    @classmethod
    def open_file(cls, path: Path) -> "Keyring":
        """Reads the key, or makes it (mode 0600, fsynced) where there is none."""
        if not path.exists():
            aside = path.with_suffix(".part")
            aside.unlink(missing_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, path)
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return cls(path.read_bytes().strip())

    @classmethod
    def ephemeral(cls) -> "Keyring":
        """A key that lives as long as the process, for databases in memory."""
        return cls(Fernet.generate_key())

    def seal(self, plain: str) -> str:
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> str:
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise MissingKey(
                "a secret was sealed with another key; put the former key file back beside the database"
            ) from error

    def digest(self, text: str) -> str:
        """An HMAC by which two texts are compared without keeping them."""
        return hmac.new(self._hmac_key, text.encode(), hashlib.sha256).hexdigest()


def dump_sealed(value: Any, keyring: Keyring) -> str:
    """JSON text in which each Secret is sealed; ids are written as text. TypeError for other objects."""

    def plain(each: Any) -> Any:
        if isinstance(each, Secret):
            return {"sealed": keyring.seal(json.dumps(each.reveal()))}
        if isinstance(each, UUID):
            return str(each)
        raise TypeError(f"{type(each).__name__} cannot be an argument of a task; use text, numbers, lists, objects")

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=plain)


def load_sealed(text: str, keyring: Keyring) -> Any:
    """What `dump_sealed` wrote, each Secret a Secret again. Raises MissingKey."""

    def opened(each: dict[str, Any]) -> Any:
        return Secret(json.loads(keyring.open(each["sealed"]))) if set(each) == {"sealed"} else each

    return json.loads(text, object_hook=opened)
