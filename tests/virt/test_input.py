"""What people write into commands: each bad name, size, address and folder is refused with command,
parameter and remedy; good ones are read."""

from typing import Any
from uuid import UUID

import pytest

from interlock import Command, InvalidInput, Ref
from interlock.virt.catalog import CATALOG
from interlock.virt.commands.disk import AddDisk
from interlock.virt.commands.disk_extension import ExtendDisk
from interlock.virt.commands.host import AddHost
from interlock.virt.commands.vm import AddVm, RemoveVm
from interlock.virt.commands.vm_from_template import AddVmFromTemplate
from interlock.virt.entities import DiskFormat
from interlock.virt.parameters import DiskSpec
from tests.virt.memory_tx import DOMAIN, HOST, WEB, disk, gold

NAME_REMEDY = "choose a name of 1 to 255 characters, such as web-1"
SIZE_REMEDY = "give bytes, or a whole number with K, M, G, T, P or E (powers of 1024), such as 10GiB"
PATH_REMEDY = "give an absolute path such as /srv/images"
COLON = "the name contains ':', which could make it a protocol to a disk tool"
TOO_LARGE = "the size is more than 8 EiB, which no disk can have"
UNREADABLE = "the size cannot be read"
NOT_WHOLE = "the size is not a whole number of bytes"
NOT_NORMAL = "the path is not absolute and normalized (no '.', '..', '//', '/' at its end)"


def resolve(kind: str, name: str) -> UUID | None:
    known = {
        ("storage_domain", "local"): DOMAIN.id,
        ("host", "host1"): HOST.id,
        ("vm", "web"): WEB.id,
        ("disk", "data"): disk(1).id,
        ("template", "gold"): gold().id,
    }
    return known.get((kind, name))


def read(command: str, /, **parameters: Any) -> Command[Any]:
    return CATALOG.from_input(command, parameters, resolve=resolve)


def reasons(command: str, /, **parameters: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        read(command, **parameters)
    return list(refused.value.reasons)


GOOD: dict[str, dict[str, Any]] = {
    "host.add": {"name": "host2", "address": "192.0.2.8"},
    "storage.add": {"name": "fast", "host": "host1", "path": "/srv/fast"},
    "disk.add": {"name": "data", "domain": "local", "size": "10GiB"},
    "vm.add": {"name": "db"},
    "template.create": {"name": "gold", "vm": "web"},
    "vm.add_from_template": {"name": "db", "template": "gold"},
    "disk.copy": {"name": "copy", "disk": "data"},
}
BAD_NAMES: list[tuple[Any, str]] = [
    ("", "the name is empty"),
    ("x" * 256, "the name has 256 characters"),
    ("a/b", "the name contains '/'"),
    ("../etc", "the name contains '/'"),
    ("a\0b", "the name contains the control character U+0000"),
    ("a\nb", "the name contains the control character U+000A"),
    ("a\r\nb", "the name contains the control character U+000D"),
    ("a\x7f", "the name contains the control character U+007F"),
    ("a\u202eb", "the name contains the control character U+202E"),
    ("\ud800", "the name contains the control character U+D800"),
    ("-o", "the name begins with '-', like an option"),
    (".", "'.' and '..' name folders"),
    ("..", "'.' and '..' name folders"),
    ("json:{}", COLON),
    ("nbd:localhost", COLON),
    ("a:b", COLON),
    (" a", "the name begins or ends with white space"),
    ("a ", "the name begins or ends with white space"),
    ("0192f0c1-0000-7000-8000-000000000000", "the name looks like an id"),
    (7, "the name is not text"),
    (None, "the name is not text"),
    (["a"], "the name is not text"),
]
BAD_SIZES: list[tuple[Any, str]] = [
    (0, "the size is less than 1 byte"),
    (-1, "the size is less than 1 byte"),
    ("0", "the size is less than 1 byte"),
    ("0GiB", "the size is less than 1 byte"),
    ("10EiB", TOO_LARGE),
    (10 * 1024**6, TOO_LARGE),
    (8 * 1024**6 + 1, TOO_LARGE),
    ("99999999999999999999E", TOO_LARGE),
    ("-5", UNREADABLE),
    ("1.5GiB", UNREADABLE),
    ("10GB", UNREADABLE),
    ("ten", UNREADABLE),
    ("", UNREADABLE),
    ("1e9", UNREADABLE),
    ("١٠", UNREADABLE),
    ("9" * 5000, UNREADABLE),
    (1.5, NOT_WHOLE),
    (float("nan"), NOT_WHOLE),
    (True, NOT_WHOLE),
    (None, NOT_WHOLE),
    ({}, NOT_WHOLE),
]
BAD_PATHS: list[tuple[Any, str]] = [
    ("srv", NOT_NORMAL),
    ("/srv/../etc", NOT_NORMAL),
    ("/srv/./a", NOT_NORMAL),
    ("//srv", NOT_NORMAL),
    ("/srv/", NOT_NORMAL),
    ("/", "the path has 1 characters, not 2 to 1024"),
    ("/" + "a" * 1024, "the path has 1025 characters, not 2 to 1024"),
    ("/srv\n", "the path contains the control character U+000A"),
    ("/srv\0", "the path contains the control character U+0000"),
    (7, "the path is not text"),
]


@pytest.mark.parametrize(("name", "fact"), BAD_NAMES)
@pytest.mark.parametrize("command", GOOD)
def test_a_bad_name(command: str, name: Any, fact: str) -> None:
    assert reasons(command, **GOOD[command] | {"name": name}) == [f"{command}: name: {fact}; {NAME_REMEDY}"]


@pytest.mark.parametrize(("size", "fact"), BAD_SIZES)
def test_a_bad_size(size: Any, fact: str) -> None:
    expected = f"{fact}; {SIZE_REMEDY}"
    assert reasons("disk.add", name="data", domain="local", size=size) == [f"disk.add: size: {expected}"]
    assert reasons("disk.extend", disk="data", size=size) == [f"disk.extend: size: {expected}"]
    disks = [{"size": 1}, {"size": size}]
    assert reasons("vm.add", name="db", domain="local", disks=disks) == [f"vm.add: disks.1.size: {expected}"]


@pytest.mark.parametrize(("path", "fact"), BAD_PATHS)
def test_a_bad_path(path: Any, fact: str) -> None:
    found = reasons("storage.add", name="fast", host="host1", path=path)
    assert found == [f"storage.add: path: {fact}; {PATH_REMEDY}"]


@pytest.mark.parametrize("address", ["", "-a", "a..b", "a b", "json:{}", "host:1", "a" * 64, "a/b", "a\n", 7])
def test_a_bad_address(address: Any) -> None:
    fact = "not a DNS name or an IP address; give one such as host1.example.org or 192.0.2.7"
    found = reasons("host.add", name="host2", address=address, server_name=address)
    assert found == [f"host.add: address: {fact}", f"host.add: server_name: {fact}"]


@pytest.mark.parametrize("port", [0, -1, 65536, "x"])
def test_a_bad_port(port: Any) -> None:
    (found,) = reasons("host.add", name="host2", address="192.0.2.8", port=port)
    assert found.startswith("host.add: port: Input should be ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert reasons("disk.add", name="a/b", domain="nowhere", size=0, colour="red") == [
        f"disk.add: name: the name contains '/'; {NAME_REMEDY}",
        "disk.add: domain: there is no storage_domain named 'nowhere'; `interlock entity storage_domain` lists them",
        f"disk.add: size: the size is less than 1 byte; {SIZE_REMEDY}",
        "disk.add: colour: Unexpected keyword argument; `interlock commands disk.add` shows what it takes",
    ]


def test_too_many_disks() -> None:
    (found,) = reasons("vm.add", name="db", domain="local", disks=["1"] * 257)
    assert found == "vm.add: disks: Tuple should have at most 256 items after validation, not 257"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (1, 1),
        ("512B", 512),
        ("4K", 4096),
        ("512M", 512 * 1024**2),
        ("10GiB", 10 * 1024**3),
        ("10 GiB", 10 * 1024**3),
        ("2T", 2 * 1024**4),
        ("1PiB", 1024**5),
        ("8EiB", 8 * 1024**6),
        (8 * 1024**6, 8 * 1024**6),
    ],
)
def test_a_good_size(text: Any, size: int) -> None:
    expected = AddDisk(name="data", domain=DOMAIN.ref, size=size)
    assert read("disk.add", name="data", domain="local", size=text) == expected


@pytest.mark.parametrize("name", ["a", "x" * 255, "Büro 2", "a.b_c-d", "名前", "...", "a'b\"c;$(d)"])
def test_a_good_name(name: str) -> None:
    assert read("vm.add", name=name) == AddVm(name=name)


@pytest.mark.parametrize(
    ("written", "disks"),
    [
        ("10GiB", (DiskSpec(size=10 * 1024**3),)),
        (512, (DiskSpec(size=512),)),
        (["1M:RAW", {"size": "2K"}], (DiskSpec(size=1024**2, format=DiskFormat.RAW), DiskSpec(size=2048))),
        ({"size": 5, "format": "RAW"}, (DiskSpec(size=5, format=DiskFormat.RAW),)),
        ([], ()),
    ],
)
def test_disks_as_people_write_them(written: Any, disks: tuple[DiskSpec, ...]) -> None:
    command = read("vm.add", name="db", domain="local", disks=written)
    assert command == AddVm(name="db", domain=DOMAIN.ref, disks=disks)
    assert CATALOG.read_command("vm.add", 1, CATALOG.write_command(command, None), None) == command


def test_parameters_given_as_text() -> None:
    host = read("host.add", name="host2", address="::1", port="5000", plain="true")
    assert host == AddHost(name="host2", address="::1", port=5000, plain=True)
    assert read("vm.remove", vm="web", keep_disks="false") == RemoveVm(vm=WEB)
    assert read("disk.extend", disk="data", size="2GiB") == ExtendDisk(disk=disk(1).ref, size=2 * 1024**3)
    cloned = read("vm.add_from_template", name="db", template="gold", domain="local", clone="true")
    assert cloned == AddVmFromTemplate(name="db", template=gold().ref, domain=DOMAIN.ref, clone=True)


@pytest.mark.parametrize(
    ("command", "parameters", "missing"),
    [
        ("disk.remove", {"disk": "gone"}, ["disk"]),
        ("disk.move", {"disk": "gone", "domain": "gone"}, ["disk", "domain"]),
        ("disk.copy", {"name": "copy", "disk": "gone", "domain": "gone"}, ["disk", "domain"]),
        ("disk.extend", {"disk": "gone", "size": 1}, ["disk"]),
        ("vm.add_from_template", {"name": "db", "template": "gone", "domain": "gone"}, ["template", "domain"]),
        ("template.remove", {"template": "gone"}, ["template"]),
        ("storage.detach", {"domain": "gone"}, ["domain"]),
    ],
)
def test_a_name_that_nothing_has(command: str, parameters: dict[str, Any], missing: list[str]) -> None:
    kinds = {"domain": "storage_domain"}
    assert reasons(command, **parameters) == [
        f"{command}: {each}: there is no {kinds.get(each, each)} named 'gone'; "
        f"`interlock entity {kinds.get(each, each)}` lists them"
        for each in missing
    ]


def test_every_command_is_documented_and_its_parameters_have_a_schema() -> None:
    assert sorted(CATALOG.commands) == [
        "disk.add",
        "disk.clone_structure",
        "disk.copy",
        "disk.copy_image",
        "disk.create_image",
        "disk.extend",
        "disk.move",
        "disk.remove",
        "disk.remove_image",
        "disk.switch_images",
        "disk.sync_data",
        "host.add",
        "storage.add",
        "storage.detach",
        "template.create",
        "template.create_image",
        "template.remove",
        "vm.add",
        "vm.add_from_template",
        "vm.remove",
        "vm.remove_images",
    ]
    for name, command in CATALOG.commands.items():
        assert command.__doc__
        assert CATALOG.schema(name)["additionalProperties"] is False


@pytest.mark.parametrize("ref", [Ref("disk", UUID(int=1)), "disk:00000000-0000-0000-0000-000000000001"])
def test_a_ref_of_another_type(ref: Any) -> None:
    assert reasons("vm.remove", vm=ref) == [
        "vm.remove: vm: disk:00000000-0000-0000-0000-000000000001 names a disk; a vm is needed"
    ]
