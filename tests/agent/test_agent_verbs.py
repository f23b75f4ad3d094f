"""Each verb on real files: what it makes, what it refuses, and that a failure leaves nothing behind."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.verbs import BLANK_ID, Code
from tests.agent.asked import POOL, Asked, Domain, asked, fresh

SUCCESS_4 = ("success", 0, "4 jobs completed successfully")


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


def image_info(path: Path) -> dict[str, Any]:
    output = subprocess.run(["qemu-img", "info", "--output=json", str(path)], check=True, capture_output=True).stdout
    found: dict[str, Any] = json.loads(output)
    return found


def fill(path: Path, kind: str, size: int) -> None:
    """Writes bytes that differ from place to place into an image."""
    data = path.with_name("data")
    data.write_bytes(os.urandom(size))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, str(data), str(path)], check=True)
    data.unlink()


def is_same(one: Path, other: Path) -> bool:
    return subprocess.run(["qemu-img", "compare", "-q", str(one), str(other)], check=False).returncode == 0


def metadata(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    assert lines[-1] == "EOF"
    return dict(line.split("=", 1) for line in lines[:-1])


async def test_a_domain_has_its_folders_and_says_what_it_is(domain: Domain) -> None:
    folder = domain.images.parent
    assert sorted(path.name for path in folder.iterdir()) == ["dom_md", "images"]
    assert metadata(folder / "dom_md" / "metadata") == {
        "CLASS": "Data",
        "DESCRIPTION": "d",
        "REMOTE_PATH": str(domain.asked.root),
        "SDUUID": domain.id,
        "TYPE": "LOCALFS",
        "VERSION": "5",
    }
    assert sorted(path.name for path in domain.asked.root.iterdir()) == [domain.id]


async def test_a_domain_is_made_once(domain: Domain) -> None:
    params = {"storagedomainID": domain.id, "domainName": "d", "typeArgs": str(domain.asked.root)}
    assert await domain.asked.code("StorageDomain.create", params) == (
        Code.STORAGE_DOMAIN_ALREADY_EXISTS,
        f"storage domain {domain.id} exists already; choose another id",
    )
    assert (domain.images.parent / "dom_md" / "metadata").is_file()


@pytest.mark.parametrize("where", ["/etc", "{tmp}", "{root}x", "{root}/absent", "{root}/link", "{root}/a/b/c"])
async def test_a_domain_is_made_only_in_the_agents_folders(domain: Domain, where: str) -> None:
    root = domain.asked.root
    (root / "link").symlink_to(root.parent)
    (root / "a/b/c").mkdir(parents=True)
    params = {
        "storagedomainID": fresh(),
        "domainName": "d",
        "typeArgs": where.format(tmp=root.parent, root=root),
    }
    code, _ = await domain.asked.code("StorageDomain.create", params)
    assert code == Code.FOLDER_NOT_ALLOWED


@pytest.mark.parametrize("within", [".", "images"])
async def test_a_domain_is_not_made_in_another_where_it_would_be_taken_for_an_image(
    domain: Domain, within: str
) -> None:
    where = str(domain.images.parent / within)
    params = {"storagedomainID": fresh(), "domainName": "d", "typeArgs": where}
    assert await domain.asked.code("StorageDomain.create", params) == (
        Code.FOLDER_NOT_ALLOWED,
        f"{where} lies in storage domain {domain.id}; choose a folder beside it",
    )
    assert domain.files() == []


async def test_a_new_cow_volume(domain: Domain) -> None:
    image, volume = fresh(), fresh()
    assert await domain.create(image, volume, desc="a disk") == SUCCESS_4
    assert domain.files() == [image, f"{image}/{volume}", f"{image}/{volume}.meta"]
    info = image_info(domain.path(image, volume))
    assert (info["format"], info["virtual-size"]) == ("qcow2", 1 << 20)
    meta = metadata(domain.images / image / f"{volume}.meta")
    assert meta.pop("CTIME").isdigit()
    assert meta == {
        "DOMAIN": domain.id,
        "IMAGE": image,
        "PUUID": BLANK_ID,
        "FORMAT": "COW",
        "TYPE": "SPARSE",
        "VOLTYPE": "LEAF",
        "DISKTYPE": "DATA",
        "LEGALITY": "LEGAL",
        "CAP": "1048576",
        "GEN": "0",
        "DESCRIPTION": "a disk",
    }


@pytest.mark.parametrize(("preallocate", "blocks"), [(1, 2048), (2, 8)])
async def test_a_new_raw_volume_takes_its_room_at_once_or_later(domain: Domain, preallocate: int, blocks: int) -> None:
    image, volume = await domain.volume(volFormat=5, preallocate=preallocate)
    stat = domain.path(image, volume).stat()
    assert stat.st_size == 1 << 20
    assert stat.st_blocks >= 2048 if blocks == 2048 else stat.st_blocks <= blocks


async def test_a_volume_upon_a_parent_of_its_image(domain: Domain) -> None:
    image, base = await domain.volume()
    top = fresh()
    assert await domain.create(image, top, srcImgUUID=image, srcVolUUID=base) == SUCCESS_4
    info = image_info(domain.path(image, top))
    assert (info["backing-filename"], info["backing-filename-format"]) == (base, "qcow2")
    assert metadata(domain.images / image / f"{top}.meta")["PUUID"] == base
    assert metadata(domain.images / image / f"{base}.meta")["VOLTYPE"] == "INTERNAL"
    found = await domain.asked.call("Volume.getInfo", {**domain.names(image), "volumeID": base})
    assert (found["voltype"], found["children"]) == ("INTERNAL", [top])


async def test_a_volume_upon_a_template_of_another_image_which_then_stays(domain: Domain) -> None:
    image, volume = await domain.volume()
    template = (fresh(), fresh())
    assert await domain.copy(image, volume, template, volType=6) == SUCCESS_4
    child, top = fresh(), fresh()
    code = await domain.create(child, top, srcImgUUID=image, srcVolUUID=volume)
    assert code[:2] == ("cleanSuccess", Code.VOLUME_NON_SHAREABLE)
    upon = {"srcImgUUID": template[0], "srcVolUUID": template[1]}
    assert await domain.create(child, top, **upon) == SUCCESS_4
    assert image_info(domain.path(child, top))["backing-filename"] == f"../{template[0]}/{template[1]}"
    assert (await domain.delete(template[0]))[:2] == ("cleanSuccess", Code.IMAGE_HAS_CHILDREN)
    assert (await domain.delete(child))[0] == "success"
    assert (await domain.delete(template[0]))[0] == "success"


async def test_a_volume_that_exists_is_not_touched(domain: Domain) -> None:
    image, volume = await domain.volume()
    before = domain.path(image, volume).read_bytes()
    result = await domain.create(image, volume, size=2 << 20)
    error = f"{domain.path(image, volume)} exists already; choose another volume id"
    assert result == ("cleanSuccess", 212, f"value={error} abortedcode=212")
    assert domain.path(image, volume).read_bytes() == before


async def test_a_volume_that_qemu_img_cannot_make_leaves_nothing(domain: Domain) -> None:
    result, code, message = await domain.create(fresh(), fresh(), size=8 << 60, volFormat=4)
    assert (result, code) == ("cleanSuccess", Code.VOLUME_CREATION_ERROR)
    assert "Invalid image size" in message
    assert domain.files() == []


async def test_a_full_disk_is_a_clean_failure_that_leaves_nothing(tmp_path: Path) -> None:
    program = tmp_path / "qemu-img"
    program.write_text('#!/bin/sh\n[ "$1" = create ] || exec qemu-img "$@"\n'
                       'echo part >"$6"\necho "qemu-img: $6: No space left on device" >&2\nexit 1\n')  # fmt: skip
    program.chmod(0o755)
    async with asked(tmp_path, qemu_img=str(program)) as agent:
        domain = await agent.domain()
        image, volume = fresh(), fresh()
        result = await domain.create(image, volume)
        assert result[:2] == ("cleanSuccess", Code.NO_SPACE)
        assert result[2].endswith("No space left on device abortedcode=4706")
        assert domain.files() == []


@pytest.mark.parametrize(("source_format", "target_format"), [(4, 4), (4, 5), (5, 4), (5, 5)])
async def test_a_copy_shows_the_same_bytes(domain: Domain, source_format: int, target_format: int) -> None:
    image, volume = await domain.volume(volFormat=source_format)
    fill(domain.path(image, volume), {4: "qcow2", 5: "raw"}[source_format], 1 << 20)
    target = (fresh(), fresh())
    assert await domain.copy(image, volume, target, volFormat=target_format) == SUCCESS_4
    assert image_info(domain.path(*target))["format"] == {4: "qcow2", 5: "raw"}[target_format]
    assert is_same(domain.path(image, volume), domain.path(*target))
    assert sorted(path.name for path in (domain.images / target[0]).iterdir()) == [
        target[1],
        f"{target[1]}.meta",
    ]
    assert list((domain.asked.root.parent / "state" / "jobs").iterdir()) == []


async def test_a_copy_of_a_chain_has_no_parent(domain: Domain) -> None:
    image, base = await domain.volume()
    fill(domain.path(image, base), "qcow2", 1 << 20)
    top, target = fresh(), (fresh(), fresh())
    await domain.create(image, top, srcImgUUID=image, srcVolUUID=base)
    assert await domain.copy(image, top, target) == SUCCESS_4
    assert "backing-filename" not in image_info(domain.path(*target))
    assert is_same(domain.path(image, base), domain.path(*target))


async def test_a_copy_of_nothing_fails_and_leaves_nothing(domain: Domain) -> None:
    image, absent = fresh(), fresh()
    result = await domain.copy(image, absent, (fresh(), fresh()))
    error = f"volume {absent} does not exist in {domain.images / image}"
    assert result == ("cleanSuccess", 201, f"value={error} abortedcode=201")
    assert domain.files() == []


async def test_a_copy_whose_program_fails_tells_why_and_leaves_nothing(tmp_path: Path) -> None:
    program = tmp_path / "qemu-img"
    program.write_text('#!/bin/sh\n[ "$1" = convert ] || exec qemu-img "$@"\necho "it broke" >&2\nexit 3\n')
    program.chmod(0o755)
    async with asked(tmp_path, qemu_img=str(program)) as agent:
        domain = await agent.domain()
        image, volume = await domain.volume()
        before = domain.files()
        result = await domain.copy(image, volume, (fresh(), fresh()))
        assert result == ("cleanSuccess", 225, "value=it broke abortedcode=225")
        assert domain.files() == before


def write_backing(path: Path, *options: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-u", *options, str(path), "1M"], check=True)


@pytest.mark.parametrize(
    "options",
    [
        ("-b", "/etc/shadow", "-F", "raw"),
        ("-b", "../../../../../etc/shadow", "-F", "raw"),
        ("-b", 'json:{"driver":"file","filename":"/etc/shadow"}', "-F", "raw"),
        ("-b", "nbd://127.0.0.1:1/x", "-F", "raw"),
        ("-b", POOL, "-F", "vmdk"),
        ("-o", "data_file={folder}/data,data_file_raw=on"),
    ],
    ids=["absolute", "dotted", "json", "nbd", "vmdk", "data"],
)
async def test_an_image_that_refers_to_anything_else_is_refused(domain: Domain, options: tuple[str, ...]) -> None:
    image, volume = await domain.volume()
    path = domain.path(image, volume)
    path.unlink()
    write_backing(path, *(option.format(folder=path.parent) for option in options[:1]), *(
        option.replace("{folder}", str(path.parent)) for option in options[1:]
    ))  # fmt: skip
    result = await domain.copy(image, volume, (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)
    code, _ = await domain.asked.code("Volume.getInfo", {**domain.names(image), "volumeID": volume})
    assert code == Code.IMAGE_NOT_OURS


async def test_a_backing_format_that_qemu_does_not_read_is_none(domain: Domain) -> None:
    """QEMU would guess, and take what a guest has written into a raw volume for the header of an image."""
    image, base = await domain.volume(volFormat=5)
    top = fresh()
    assert (await domain.create(image, top, srcImgUUID=image, srcVolUUID=base))[0] == "success"
    secret = domain.images / "secret"
    fill(secret, "raw", 1 << 20)
    write_backing(domain.path(image, base), "-b", str(secret), "-F", "raw")
    # The name comes first, and the format behind it, where the header says that its extensions begin.
    header = bytearray(domain.path(image, top).read_bytes())
    struct.pack_into(">QI", header, 8, 112, len(base))
    struct.pack_into(">I", header, 100, 152)
    behind = struct.pack(">II8sII", 0xE2792ACA, 3, b"raw", 0, 0)
    header[112 : 152 + len(behind)] = base.encode().ljust(40, b"\0") + behind
    domain.path(image, top).write_bytes(header)
    assert is_same(domain.path(image, top), secret)
    assert (await domain.copy(image, top, (fresh(), fresh())))[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)


async def test_an_image_of_which_too_much_is_to_be_told_is_refused(domain: Domain) -> None:
    image, volume = await domain.volume()
    path, count, name = domain.path(image, volume), 4096, b"n" * 1000
    snapshot = struct.pack(">QIHHIIQIIQQ", 0, 0, 0, len(name), 0, 0, 0, 0, 16, 0, 1 << 20) + name
    content = bytearray(path.read_bytes().ljust(1 << 20, b"\0"))
    struct.pack_into(">IQ", content, 60, count, len(content))
    path.write_bytes(content + snapshot * count)
    result = await domain.copy(image, volume, (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)


async def test_a_description_with_a_separator_of_lines_says_nothing_else(domain: Domain) -> None:
    desc = "a\u2028FORMAT=RAW\u2029LEGALITY=ILLEGAL"
    image, volume = await domain.volume(desc=desc)
    told = await domain.asked.call("Volume.getInfo", {**domain.names(image), "volumeID": volume})
    assert (told["description"], told["format"], told["legality"]) == (desc, "COW", "LEGAL")


async def test_a_volume_that_is_a_link_is_refused(domain: Domain) -> None:
    image, volume = await domain.volume(volFormat=5)
    path = domain.path(image, volume)
    path.unlink()
    path.symlink_to("/etc/passwd")
    result = await domain.copy(image, volume, (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)


async def test_a_file_that_is_no_qcow2_is_refused(domain: Domain) -> None:
    image, volume = await domain.volume()
    domain.path(image, volume).write_bytes(b"QFI\xfb" + b"\xff" * 4096)
    result = await domain.copy(image, volume, (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)


async def test_an_image_is_deleted_with_all_its_volumes(domain: Domain) -> None:
    image, base = await domain.volume()
    await domain.create(image, fresh(), srcImgUUID=image, srcVolUUID=base)
    assert await domain.delete(image) == ("success", 0, "3 jobs completed successfully")
    assert domain.files() == []


async def test_an_image_that_is_not_there_is_error_268(domain: Domain) -> None:
    image = fresh()
    error = f"Image does not exist in domain: image={image}, domain={domain.id}"
    assert await domain.delete(image) == ("cleanSuccess", 268, f"value={error} abortedcode=268")


async def test_what_a_volume_is(domain: Domain) -> None:
    image, volume = await domain.volume(desc="mine")
    found = await domain.asked.call("Volume.getInfo", {**domain.names(image), "volumeID": volume})
    stat = domain.path(image, volume).stat()
    assert found.pop("ctime").isdigit()
    assert found == {
        "uuid": volume,
        "image": image,
        "domain": domain.id,
        "pool": "",
        "parent": BLANK_ID,
        "format": "COW",
        "type": "SPARSE",
        "voltype": "LEAF",
        "disktype": "DATA",
        "legality": "LEGAL",
        "description": "mine",
        "capacity": "1048576",
        "apparentsize": str(stat.st_size),
        "truesize": str(stat.st_blocks * 512),
        "mtime": "0",
        "generation": 0,
        "status": "OK",
        "children": [],
    }


async def test_volumes_and_domains_that_are_not_there(domain: Domain) -> None:
    names = {**domain.names(fresh()), "volumeID": fresh()}
    assert (await domain.asked.code("Volume.getInfo", names))[0] == Code.VOLUME_DOES_NOT_EXIST
    names["storagedomainID"] = fresh()
    assert (await domain.asked.code("Volume.getInfo", names))[0] == Code.STORAGE_DOMAIN_DOES_NOT_EXIST


async def test_bad_parameters_are_refused_before_anything_is_made(domain: Domain) -> None:
    good = domain.create_params(fresh(), fresh())
    asked: Asked = domain.asked
    for bad in ({"size": 0}, {"imageID": "../x"}, {"volFormat": 9}, {"surprise": 1}, {"taskID": "x"}):
        code, message = await asked.code("Volume.create", {**good, **bad})
        assert (code, next(iter(bad)) in message) == (-32602, True)
    assert (await asked.code("Host.reboot", {})) == (-32601, "there is no verb 'Host.reboot'")
    assert domain.files() == []
    assert {status["message"] for status in (await asked.call("Host.getAllTasksStatuses", {})).values()} == set()
