"""The catalog: which commands, entities and local functions exist, and how they are read and written."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, TypeVar, get_type_hints
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from interlock import steps
from interlock.command import Command, Local, Monitor, result_type
from interlock.model.entities import Entity, Upgrade
from interlock.model.errors import InvalidInput
from interlock.model.records import EntityRecord
from interlock.model.refs import Ref
from interlock.model.waits import Approval
from interlock.secrets import Keyring
from interlock.steps import Steps

E = TypeVar("E", bound=Entity)
C = TypeVar("C")
Member = type[Command[Any]] | type[Entity] | Local | Monitor
Resolve = Callable[[str, str], UUID | None]
#: pydantic's types of problem that name a parameter, not a value
_ABOUT_KEYS = frozenset({"missing", "unexpected_keyword_argument"})
#: how much of what is wrong is said: problems, and characters of each place, which a caller chooses
_REASONS_MAX, _WHERE_LENGTH_MAX = 100, 200

_GONE = "the class of command {} is gone; install the code that has it and restart"


class Unreadable(Exception):
    """A stored command or entity that this catalog cannot read; its docstring is the attention's reason."""


class Catalog:
    """Commands, entities, local functions and monitors by name; registration is explicit.

    `Catalog(RemoveVm, RemoveImage, Vm, Disk, Local("probe", probe))`. A name given twice is a TypeError.
    """

    def __init__(self, *members: Member) -> None:
        self.commands: dict[str, type[Command[Any]]] = {}
        self.entities: dict[str, type[Entity]] = {}
        self.functions: dict[str, Local] = {}
        self.monitors: dict[str, Monitor] = {}
        self._adapters: dict[type, TypeAdapter[Any]] = {}
        self._results: dict[type, TypeAdapter[Any]] = {}
        self._forms: dict[Any, TypeAdapter[Any]] = {}
        for member in members:
            self._register(member)

    def _register(self, member: Member) -> None:
        if isinstance(member, Local):
            _once(self.functions, member.name, member)
        elif isinstance(member, Monitor):
            _once(self.monitors, member.name, member)
        elif issubclass(member, Command):
            _once(self.commands, member.command_type.name, member)
            self._adapters[member] = TypeAdapter(member)
            self._results[member] = TypeAdapter(result_type(member))
        else:
            _once(self.entities, member.entity_type, member)
            self._adapters[member] = TypeAdapter(member)

    # commands ---------------------------------------------------------------------------------------

    def from_input(
        self, name: str, parameters: Mapping[str, Any], *, version: int | None = None, resolve: Resolve
    ) -> Command[Any]:
        """A command from what a person or a client wrote; InvalidInput says all that is wrong with it."""
        cls = self.commands.get(name)
        if cls is None:
            raise InvalidInput(f"there is no command {name!r}; `interlock commands` lists them")
        if cls.command_type.internal:
            raise InvalidInput(f"{name} is internal, a part of other commands; `interlock commands` lists the others")
        known = cls.command_type.version
        if version is not None and not 1 <= version <= known:
            raise InvalidInput(f"{name} has versions 1 to {known}, not {version}; leave it out for the newest")
        data = _upgrade(dict(parameters), version or known, known, cls.command_type.upgrades)
        try:
            command = self._adapters[cls].validate_python(data, context={"resolve": resolve})
        except ValidationError as error:
            raise InvalidInput(*reasons_of(name, error)) from None
        assert isinstance(command, Command)
        return command

    def read_command(self, name: str, version: int, text: str, keyring: Keyring | None) -> Command[Any]:
        """A stored command, upgraded; raises Unreadable."""
        if name == Steps.command_type.name:
            return self._read_steps(text, keyring)
        cls = self.commands.get(name)
        if cls is None:
            raise Unreadable(_GONE.format(name))
        known = cls.command_type.version
        if version > known:
            raise Unreadable(f"{name} is stored as version {version}, this code knows {known}; upgrade it")
        try:
            data = _upgrade(json.loads(text), version, known, cls.command_type.upgrades)
            command = self._adapters[cls].validate_python(data, context={"keyring": keyring})
        except Exception as error:
            raise Unreadable(f"the parameters of {name} version {version} cannot be read: {error}") from error
        assert isinstance(command, Command)
        return command

    def write_command(self, command: Command[Any], keyring: Keyring | None) -> str:
        """Parameters as JSON, secrets sealed (redacted without a keyring)."""
        self.known(command)
        if isinstance(command, Steps):
            assert keyring is not None  # it is a part of a plan, never a flow's command
            return steps.dump(command, lambda each: self._stored(each, keyring), keyring)
        return self._adapters[type(command)].dump_json(command, context={"keyring": keyring}).decode()

    def _stored(self, command: Command[Any], keyring: Keyring) -> steps.Stored:
        kind = command.command_type
        return kind.name, kind.version, self.write_command(command, keyring)

    def _read_steps(self, text: str, keyring: Keyring | None) -> Steps:
        try:
            return steps.load(text, partial(self.read_command, keyring=keyring), keyring)
        except Unreadable:
            raise
        except Exception as error:
            raise Unreadable(f"a stored group of parts cannot be read: {error}") from error

    def digest(self, command: Command[Any], keyring: Keyring) -> str:
        """What two submissions under one idempotency key must share; secrets compared by HMAC."""
        text = self._adapters[type(command)].dump_json(command, context={"digest": keyring})
        return keyring.digest(f"{command.command_type.name} {text.decode()}")

    def write_value(self, command: Command[Any], value: Any) -> str:
        """A typed result as JSON; a value of another type is an error of the command."""
        if isinstance(command, Steps):
            return "null"
        adapter = self._results[type(command)]
        return adapter.dump_json(adapter.validate_python(value)).decode()

    def read_value(self, cls: type[Command[Any]], text: str | None) -> Any:
        return None if text is None or cls is Steps else self._results[cls].validate_json(text)

    def checked(self, command: Command[C]) -> Command[C]:
        """The command as it will be read back from its row; InvalidInput where that cannot be."""
        self.known(command)
        adapter = self._adapters[type(command)]
        try:
            plain = adapter.dump_python(command, context={"reveal": True}, warnings="none")
            found: Command[C] = adapter.validate_python(plain)
        except ValidationError as error:
            raise InvalidInput(*reasons_of(command.command_type.name, error)) from None
        return found

    def known(self, command: Command[Any]) -> None:
        """Raises InvalidInput where the command's class is not this catalog's."""
        kind = command.command_type
        if isinstance(command, Steps):
            return
        if self.commands.get(kind.name) is not type(command):
            raise InvalidInput(f"command {kind.name} is not registered; add its class to the catalog")

    def form(self, name: str, judge: str | None) -> TypeAdapter[Any]:
        """What an answer or a signal must be for a method of the command that judges it; raises Unreadable."""
        if name not in self.commands:
            raise Unreadable(_GONE.format(name))
        return self._form(Approval if judge is None else _last_hint(method_of(self.commands[name], judge)))

    def report(self, monitor: str, data: Any, resolve: Resolve) -> Any:
        """What a monitor is told, in its own type; raises InvalidInput."""
        if monitor not in self.monitors:
            known = ", ".join(sorted(self.monitors)) or "none"
            raise InvalidInput(f"there is no monitor {monitor!r}; there are: {known}")
        try:
            return self._form(_last_hint(self.monitors[monitor].reported)).validate_python(
                data, context={"resolve": resolve}
            )
        except ValidationError as error:
            raise InvalidInput(*reasons_of(f"monitor {monitor}", error)) from None

    def _form(self, wanted: Any) -> TypeAdapter[Any]:
        if wanted not in self._forms:
            self._forms[wanted] = TypeAdapter(wanted)
        return self._forms[wanted]

    def schema(self, name: str) -> dict[str, Any]:
        """The JSON schema of a command's parameters."""
        return self._adapters[self.commands[name]].json_schema()

    # entities ---------------------------------------------------------------------------------------

    def read_entity(self, record: EntityRecord) -> Entity:
        """A stored entity, upgraded; raises Unreadable."""
        return self.read_body(record.ref, record.schema, record.body_json)

    def read_body(self, ref: Ref[Any], schema: int, body_json: str) -> Entity:
        """As `read_entity`, from a body alone."""
        cls = self.entities.get(ref.type)
        if cls is None:
            raise Unreadable(f"the class of entity {ref} is gone; install the code that has it and restart")
        if schema == cls.entity_version:
            entity = self._adapters[cls].validate_json(body_json)
        elif schema > cls.entity_version:
            raise Unreadable(f"{ref} is stored as version {schema}, this code knows {cls.entity_version}")
        else:
            data = _upgrade(json.loads(body_json), schema, cls.entity_version, cls.entity_upgrades)
            entity = self._adapters[cls].validate_python(data)
        assert isinstance(entity, Entity)
        return entity

    def write_entity(self, entity: Entity) -> str:
        """The body as JSON."""
        if self.entities.get(entity.entity_type) is not type(entity):
            raise InvalidInput(f"entity type {entity.entity_type} is not registered; add its class to the catalog")
        return self._adapters[type(entity)].dump_json(entity).decode()


def method_of(command: type[Command[Any]], name: str) -> Callable[..., Any]:
    """The method that judges a wait; raises Unreadable where the code has changed and it is gone."""
    found: Callable[..., Any] | None = getattr(command, name, None)
    if found is None:
        kind = command.command_type.name
        raise Unreadable(f"{kind} has no method {name}, which judges a wait; install the code that has it and restart")
    return found


def refs_of(value: Any) -> Iterator[tuple[str, Ref[Any]]]:
    """The refs among a dataclass's fields with the field's name; tuples, lists and dicts are looked into."""
    if is_dataclass(value):
        for field in fields(value):
            for ref in _refs_in(getattr(value, field.name)):
                yield field.name, ref


def _refs_in(value: Any) -> Iterator[Ref[Any]]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (tuple, list, frozenset)):
        for each in value:
            yield from _refs_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _refs_in(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for _, ref in refs_of(value):
            yield ref


def _last_hint(function: Callable[..., Any]) -> Any:
    """The type of a function's last parameter."""
    name = [*inspect.signature(function).parameters][-1]
    return get_type_hints(function).get(name, Any)


def _once(table: dict[str, Any], name: str, member: Any) -> None:
    if name in table:
        raise TypeError(f"{name} is registered twice in the catalog")
    table[name] = member


def _upgrade(data: dict[str, Any], version: int, wanted: int, upgrades: Mapping[int, Upgrade]) -> dict[str, Any]:
    for n in range(version, wanted):
        data = upgrades[n](dict(data))
    return data


def reasons_of(name: str, error: ValidationError) -> list[str]:
    """What is wrong, a line each: command, parameter, fact. The value itself is left out: it may be secret."""
    lines = []
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    for problem in problems[:_REASONS_MAX]:
        where = ".".join(str(part) for part in problem["loc"])[:_WHERE_LENGTH_MAX] or "parameters"
        remedy = f"; `interlock commands {name}` shows what it takes" if problem["type"] in _ABOUT_KEYS else ""
        lines.append(f"{name}: {where}: {problem['msg'].removeprefix('Value error, ')}{remedy}")
    if len(problems) > _REASONS_MAX:
        lines.append(f"{name}: {len(problems) - _REASONS_MAX} more are wrong; mend these first")
    return lines
