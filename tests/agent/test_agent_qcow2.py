"""qcow2 headers: what a file refers to is read from any bytes without a crash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agent.storage.qcow2 import NotQcow2, References, references


def made(path: Path, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-u", *options, str(path), "3M"], check=True)
    return path


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_a_plain_image_refers_to_nothing(tmp_path: Path, version: str) -> None:
    image = made(tmp_path / "a", "-o", f"compat={version}")
    assert references(image) == References(3 << 20, None, None, False)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_a_backing_file_is_named_with_its_format(tmp_path: Path, version: str) -> None:
    image = made(tmp_path / "a", "-o", f"compat={version}", "-b", "some/base", "-F", "raw")
    assert references(image) == References(3 << 20, "some/base", "raw", False)


def test_a_data_file_is_seen(tmp_path: Path) -> None:
    image = made(tmp_path / "a", "-o", f"data_file={tmp_path / 'data'}")
    assert references(image) == References(3 << 20, None, None, True)


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"QFI\xfb" + b"\xff" * 500, b"\0" * 500])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(NotQcow2):
        references(tmp_path / "a")


@pytest.fixture(scope="module")
def image_with_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    return made(folder / "a", "-b", "base", "-F", "raw", "-o", f"data_file={folder / 'data'}")


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=20), st.integers(0, 800))
def test_any_bytes_are_understood_or_refused(image_with_all: Path, changes: list[tuple[int, int]], size: int) -> None:
    data = bytearray(image_with_all.read_bytes()[:1024])
    for position, value in changes:
        data[position] = value
    changed = image_with_all.with_name("changed")
    changed.write_bytes(data[:size])
    try:
        found = references(changed)
    except NotQcow2:
        found = None
    assert found is None or found.size >= 0
