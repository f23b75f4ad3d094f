"""How a new volume appears (made aside, made durable, renamed, described) and goes again."""

from __future__ import annotations

import os
import time
from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects.deleting import remove_empty
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Volume, volume_meta, write_meta
from interlock.agent.storage.qemu_img import QemuImg
from interlock.verbs import BLANK_ID, Code, Preallocate, VolumeFormat, VolumeType


def refuse_existing(volume: Volume) -> None:
    """Raises `StepFailed` (VOLUME_ALREADY_EXISTS) if anything has the volume's name."""
    for path in (volume.path, volume.meta_path):
        if os.path.lexists(path):
            raise StepFailed(Code.VOLUME_ALREADY_EXISTS, f"{path} exists already; choose another volume id")


def prepare_part(volume: Volume) -> Path:
    """The place where the volume is made, empty, in a folder that exists durably."""
    durable.make_folder(volume.path.parent)
    discard_part(volume, is_folder_kept=True)
    return volume.part_path


def discard_part(volume: Volume, *, is_folder_kept: bool = False) -> None:
    """Removes what was being made, and the image's folder with it if nothing else is there."""
    if not volume.path.parent.is_dir():
        return
    durable.remove_file(volume.part_path)
    if not is_folder_kept:
        remove_empty(volume.path.parent)


def publish(
    volume: Volume,
    qemu_img: QemuImg,
    *,
    domain_id: str,
    kind: VolumeFormat,
    preallocate: Preallocate,
    place: VolumeType,
    description: str,
    parent_id: str = BLANK_ID,
    disk_type: str = "DATA",
) -> None:
    """Gives the volume its name and its description; may be done again after a crash in its middle."""
    if volume.part_path.exists():
        durable.fsync_file(volume.part_path)
        durable.rename(volume.part_path, volume.path)
    meta = volume_meta(
        domain_id=domain_id,
        image_id=volume.path.parent.name,
        parent_id=parent_id,
        kind=kind,
        is_preallocated=preallocate is Preallocate.PREALLOCATED,
        place=place,
        size_bytes=qemu_img.info(volume.path, kind).virtual_size,
        created_s=int(time.time()),
        description=description,
        disk_type=disk_type,
    )
    write_meta(volume.meta_path, meta)


def withdraw(volume: Volume) -> None:
    """Takes a published volume back, description first, so that it is never taken for a whole one."""
    if not volume.path.parent.is_dir():
        return
    durable.remove_file(volume.meta_path)
    durable.remove_file(volume.meta_path.with_name(volume.meta_path.name + ".new"))
    durable.remove_file(volume.path)
    remove_empty(volume.path.parent)
