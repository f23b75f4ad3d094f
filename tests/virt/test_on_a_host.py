"""The commands on disks, templates and storage domains, carried out by a real host on real files."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.testing.site import Site

SIZE = 1 << 20
#: no whole number of sectors: a host rounds it up
ODD_SIZE = SIZE + 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with domains sd1 and sd2 and a VM `web` whose disks, one of them RAW, are full of random data."""
    with Site(tmp_path_factory.mktemp("host"), forked=True) as site:
        site.start_server("--poll", "0.05")
        site.start_agent()
        site.do("host.add", name="h1", address="127.0.0.1", port=int((site.folder / "agent" / "port").read_text()))
        for domain in ("sd1", "sd2"):
            site.do("storage.add", name=domain, host="h1", path=str(site.storage))
        site.do("vm.add", name="web", domain="sd1", disks=[{"size": ODD_SIZE}, {"size": SIZE, "format": "RAW"}])
        data = site.folder / "data"
        for number in (1, 2):
            data.write_bytes(os.urandom(SIZE))
            target = [f"-f{format_of(site, f'web_disk{number}')}", str(file_of(site, f"web_disk{number}"))]
            subprocess.run(["qemu-io", "-c", f"write -q -s {data} 0 {SIZE}", *target], check=True)
        yield site
        assert site.violations() == []


def fields(site: Site, kind: str, name: str) -> dict[str, Any]:
    """An entity, by the database."""
    [(body,)] = site.rows("SELECT body_json FROM entities WHERE type = ? AND name = ?", kind, name)
    found: dict[str, Any] = json.loads(body)
    return found


def names(site: Site, kind: str) -> set[str]:
    return {name for (name,) in site.rows("SELECT name FROM entities WHERE type = ?", kind)}


def file_of(site: Site, name: str) -> Path:
    disk = fields(site, "disk", name)
    domain = str(disk["domain"]).partition(":")[2]
    return site.storage / domain / "images" / str(disk["image_id"]) / str(disk["volume_id"])


def format_of(site: Site, name: str) -> str:
    return {"COW": "qcow2", "RAW": "raw"}[fields(site, "disk", name)["format"]]


def info(site: Site, name: str) -> dict[str, Any]:
    """What qemu-img says of a disk's file."""
    command = ["qemu-img", "info", "--output=json", "-f", format_of(site, name), str(file_of(site, name))]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def shows_the_same(site: Site, one: str, other: str) -> bool:
    """Whether a guest sees the same in both disks; what one is longer must be zeros."""
    formats = ["-f", format_of(site, one), "-F", format_of(site, other)]
    compare = ["qemu-img", "compare", "-q", *formats, str(file_of(site, one)), str(file_of(site, other))]
    return subprocess.run(compare).returncode == 0


def refused(site: Site, reason: str, command: str, **parameters: Any) -> None:
    with pytest.raises(AssertionError, match=re.escape(reason)):
        site.submit(command, **parameters)


def test_vms_from_a_template_show_its_data_and_keep_it_from_being_removed(site: Site) -> None:
    site.do("template.create", name="gold", vm="web")
    site.do("vm.add_from_template", name="thin", template="gold")
    site.do("vm.add_from_template", name="clone", template="gold", domain="sd2", clone=True)
    for number in (1, 2):
        source = file_of(site, f"gold_disk{number}")
        assert info(site, f"thin_disk{number}")["backing-filename"] == f"../{source.parent.name}/{source.name}"
        assert "backing-filename" not in info(site, f"clone_disk{number}")
        assert shows_the_same(site, f"web_disk{number}", f"thin_disk{number}")
        assert shows_the_same(site, f"web_disk{number}", f"clone_disk{number}")
    refused(site, "what others are built upon: thin_disk1 (VM thin)", "template.remove", template="gold")
    refused(site, "copy it instead", "disk.move", disk="thin_disk1", domain="sd2")
    refused(site, "copy it instead", "disk.move", disk="gold_disk1", domain="sd2")
    refused(site, "belongs to template gold", "disk.remove", disk="gold_disk1")
    site.do("vm.remove", vm="thin")
    site.do("template.remove", template="gold")
    assert "gold" not in names(site, "template")
    assert not {name for name in names(site, "disk") if name.startswith(("gold", "thin"))}
    assert shows_the_same(site, "web_disk1", "clone_disk1")
    site.do("vm.remove", vm="clone")


def test_a_template_of_a_vm_that_came_from_one_needs_it_no_more(site: Site) -> None:
    site.do("template.create", name="first", vm="web")
    site.do("vm.add_from_template", name="between", template="first")
    site.do("template.create", name="second", vm="between")
    site.do("vm.remove", vm="between")
    site.do("template.remove", template="first")
    assert "backing-filename" not in info(site, "second_disk1")
    assert shows_the_same(site, "web_disk1", "second_disk1")
    site.do("template.remove", template="second")


@pytest.mark.parametrize("number", [1, 2])
def test_a_copy_on_another_domain_can_be_extended_and_moved_back(site: Site, number: int) -> None:
    source, copy = f"web_disk{number}", f"copy{number}"
    site.do("disk.copy", name=copy, disk=source, domain="sd2")
    assert fields(site, "disk", copy)["domain"].endswith(fields(site, "storage_domain", "sd2")["id"])
    assert shows_the_same(site, source, copy)
    refused(site, "give a larger size", "disk.extend", disk=copy, size=SIZE)
    site.do("disk.extend", disk=copy, size=4 * SIZE)
    assert (info(site, copy)["virtual-size"], fields(site, "disk", copy)["size"]) == (4 * SIZE, 4 * SIZE)
    site.do("disk.move", disk=copy, domain="sd1")
    assert shows_the_same(site, source, copy)
    assert info(site, copy)["virtual-size"] == 4 * SIZE
    file = file_of(site, copy)
    site.do("disk.remove", disk=copy)
    assert not file.parent.exists()
    assert copy not in names(site, "disk")


def test_a_storage_domain_is_detached_once_nothing_is_on_it(site: Site) -> None:
    site.do("storage.add", name="sd3", host="h1", path=str(site.storage))
    site.do("vm.add", name="last", domain="sd3", disks=[{"size": SIZE}])
    refused(site, "storage domain sd3 has disks: last_disk1 (VM last)", "storage.detach", domain="sd3")
    site.do("disk.move", disk="last_disk1", domain="sd1")
    folder = site.storage / fields(site, "storage_domain", "sd3")["id"]
    job = site.do("storage.detach", domain="sd3")
    assert "sd3" not in names(site, "storage_domain")
    assert "STATUS=DETACHED" in (folder / "dom_md" / "metadata").read_text()
    events = [text for (text,) in site.rows("SELECT message FROM audit_log WHERE message LIKE 'storage domain sd3%'")]
    assert events == [f"storage domain sd3 is detached; its files stay at {folder} on host h1"], job
    site.do("vm.remove", vm="last")
