"""Every flow of the virtualization catalog: what it is, what it is done with, and all that it changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.testing.site import Site
from tests.killing import loop
from tests.killing.world import MIB, World, fill

#: more than a qcow2 file can show: making it fails on the host, after everything before it is done
TOO_MUCH = 7 << 60
#: bytes per second, where a copy is to be cancelled under way; qemu-img counts by pieces of two MiB
COPY_RATE = 2 * MIB
#: what everything is done with: VM web1 with two disks, full of 7s and 8s, and template gold, made of it
EMPTY, SEVENS, EIGHTS = "1 MiB on sd1, holds 0", "1 MiB on sd1, holds 7", "1 MiB on sd1, holds 8"


@dataclass(frozen=True)
class Flow:
    """One flow. `{name}` stands for the name of the run, of which there is another each time."""

    command: str
    parameters: Mapping[str, Any]
    #: the commands of the catalog that it consists of
    parts: frozenset[str] = frozenset()
    #: all that is different after it; it differs in nothing else from what was before
    changes: World = field(default_factory=dict)
    #: how it may be as well, with a leftover, where a stock host cannot say whether it was done
    unknown: World = field(default_factory=dict)
    prepare: Callable[[Site, str], None] = lambda site, name: None
    result: str = "SUCCEEDED"
    #: cancelled while a host copies; then nothing is different
    is_cancelled: bool = False
    about: str = ""

    @property
    def title(self) -> str:
        """The command, and what the flow is about."""
        return f"{self.command}, {self.about}" if self.about else self.command

    def filled(self, name: str) -> dict[str, Any]:
        """The parameters of the run of that name."""
        return {key: _named(value, name) for key, value in self.parameters.items()}

    def after(self, before: Mapping[str, str], name: str) -> dict[str, str]:
        """All that there must be after it."""
        return {key: value for key, value in {**before, **_all_named(self.changes, name)}.items() if value is not None}

    def in_doubt(self, name: str) -> World:
        """How it may be as well, where nobody knows whether it was done."""
        return _all_named(self.unknown, name)


def _all_named(world: World, name: str) -> World:
    return {_named(key, name): _named(value, name) for key, value in world.items()}


def _named(value: Any, name: str) -> Any:  # Any: JSON values
    return value.replace("{name}", name) if isinstance(value, str) else value


def add_what_is_there(site: Site) -> None:
    """What every flow finds."""
    loop.add_storage(site)
    site.do("storage.add", name="sd2", host="h1", path=str(site.storage))
    site.do("vm.add", name="web1", domain="sd1", disks=[{"size": MIB}] * 2)
    fill(site, "web1_disk1", 7)
    fill(site, "web1_disk2", 8)
    site.do("template.create", name="gold", vm="web1")


def _storage(site: Site, name: str) -> None:
    site.do("storage.add", name=name, host="h1", path=str(site.storage))


def _disk(site: Site, name: str) -> None:
    site.do("disk.add", name=name, domain="sd1", size=MIB)
    fill(site, name, 7)


def _large_disk(site: Site, name: str) -> None:
    """One whose copy takes some seconds, where hosts copy no more than COPY_RATE."""
    site.do("disk.add", name=name, domain="sd1", size=8 * MIB)
    fill(site, name, 7)


def _vm(site: Site, name: str) -> None:
    site.do("vm.add", name=name, domain="sd1", disks=[{"size": MIB}] * 4)


def _thin_vm(site: Site, name: str) -> None:
    site.do("vm.add_from_template", name=name, template="gold")


def _template(site: Site, name: str) -> None:
    site.do("template.create", name=name, vm="web1")


IMAGE, REMOVAL = "disk.create_image", "disk.remove_image"
ALL_DISKS_GONE: World = {"vm {name}": None, **{f"disk {{name}}_disk{number}": None for number in range(1, 5)}}

FLOWS = (
    Flow(
        "host.add",
        {"name": "{name}", "address": "127.0.0.1", "port": "{port}", "server_name": "h1"},
        changes={"host {name}": "UP"},
    ),
    Flow(
        "storage.add",
        {"name": "{name}", "host": "h1", "path": "{storage}"},
        changes={"storage_domain {name}": "ACTIVE, on h1", "files of {name}": "whole"},
    ),
    Flow("storage.detach", {"domain": "{name}"}, changes={"storage_domain {name}": None}, prepare=_storage),
    Flow(
        "disk.add",
        {"name": "{name}", "domain": "sd1", "size": MIB},
        parts=frozenset({IMAGE}),
        changes={"disk {name}": f"OK, {EMPTY}"},
    ),
    Flow(
        "disk.add",
        {"name": "{name}", "domain": "sd1", "size": TOO_MUCH},
        parts=frozenset({IMAGE}),
        result="FAILED",
        about="which cannot be made",
    ),
    Flow("disk.remove", {"disk": "{name}"}, parts=frozenset({REMOVAL}), changes={"disk {name}": None}, prepare=_disk),
    Flow(
        "disk.copy",
        {"name": "{name}_copy", "disk": "{name}", "domain": "sd2"},
        parts=frozenset({"disk.copy_image"}),
        changes={"disk {name}_copy": "OK, 1 MiB on sd2, holds 7"},
        prepare=_disk,
    ),
    Flow(
        "disk.copy",
        {"name": "{name}_copy", "disk": "{name}", "domain": "sd2"},
        parts=frozenset({"disk.copy_image"}),
        changes={"disk {name}_copy": "OK, 8 MiB on sd2, holds 7"},
        prepare=_large_disk,
        is_cancelled=True,
        result="CANCELLED",
        about="cancelled",
    ),
    Flow(
        "disk.move",
        {"disk": "{name}", "domain": "sd2"},
        parts=frozenset({"disk.clone_structure", "disk.sync_data", "disk.switch_images", REMOVAL}),
        changes={"disk {name}": "OK, 1 MiB on sd2, holds 7"},
        prepare=_disk,
    ),
    Flow(
        "disk.move",
        {"disk": "{name}", "domain": "sd2"},
        parts=frozenset({"disk.clone_structure", "disk.sync_data", "disk.switch_images", REMOVAL}),
        changes={"disk {name}": "OK, 8 MiB on sd2, holds 7"},
        prepare=_large_disk,
        is_cancelled=True,
        result="CANCELLED",
        about="cancelled",
    ),
    Flow(
        "disk.extend",
        {"disk": "{name}", "size": 2 * MIB},
        changes={"disk {name}": "OK, 2 MiB on sd1, holds 7 then 0"},
        unknown={"disk {name}": "OK, 1 MiB on sd1, holds 7 then 0"},
        prepare=_disk,
    ),
    Flow(
        "vm.add",
        {"name": "{name}", "domain": "sd1", "disks": [{"size": MIB}] * 2},
        parts=frozenset({"disk.add", IMAGE}),
        changes={
            "vm {name}": "DOWN, {name}_disk1, {name}_disk2",
            "disk {name}_disk1": "OK, 1 MiB on sd1, of {name}, holds 0",
            "disk {name}_disk2": "OK, 1 MiB on sd1, of {name}, holds 0",
        },
    ),
    Flow(
        "vm.add",
        {"name": "{name}", "domain": "sd1", "disks": [{"size": MIB}, {"size": TOO_MUCH}]},
        parts=frozenset({"disk.add", IMAGE, REMOVAL}),
        result="FAILED",
        about="whose second disk cannot be made",
    ),
    Flow(
        "vm.add_from_template",
        {"name": "{name}", "template": "gold"},
        parts=frozenset({IMAGE}),
        changes={
            "vm {name}": "DOWN, {name}_disk1, {name}_disk2",
            "disk {name}_disk1": "OK, 1 MiB on sd1, of {name}, upon gold_disk1, holds 7",
            "disk {name}_disk2": "OK, 1 MiB on sd1, of {name}, upon gold_disk2, holds 8",
        },
    ),
    Flow(
        "vm.add_from_template",
        {"name": "{name}", "template": "gold", "domain": "sd2", "clone": True},
        parts=frozenset({"disk.copy_image"}),
        changes={
            "vm {name}": "DOWN, {name}_disk1, {name}_disk2",
            "disk {name}_disk1": "OK, 1 MiB on sd2, of {name}, holds 7",
            "disk {name}_disk2": "OK, 1 MiB on sd2, of {name}, holds 8",
        },
        about="as clones",
    ),
    Flow(
        "vm.remove",
        {"vm": "{name}"},
        parts=frozenset({"vm.remove_images", REMOVAL}),
        changes=ALL_DISKS_GONE,
        prepare=_vm,
    ),
    Flow(
        "vm.remove",
        {"vm": "{name}", "keep_disks": True},
        changes={
            "vm {name}": None,
            "disk {name}_disk1": "OK, 1 MiB on sd1, upon gold_disk1, holds 7",
            "disk {name}_disk2": "OK, 1 MiB on sd1, upon gold_disk2, holds 8",
        },
        prepare=_thin_vm,
        about="keeping its disks",
    ),
    Flow(
        "template.create",
        {"name": "{name}", "vm": "web1"},
        parts=frozenset({"template.create_image"}),
        changes={
            "template {name}": "OK, {name}_disk1, {name}_disk2",
            "disk {name}_disk1": f"OK, {SEVENS}",
            "disk {name}_disk2": f"OK, {EIGHTS}",
        },
    ),
    Flow(
        "template.remove",
        {"template": "{name}"},
        parts=frozenset({REMOVAL}),
        changes={"template {name}": None, "disk {name}_disk1": None, "disk {name}_disk2": None},
        prepare=_template,
    ),
)
