"""Volume.getInfo: what the host knows of a volume, read at once."""

from __future__ import annotations

from typing import Any

from interlock.agent.records import StepFailed
from interlock.agent.storage import lineage
from interlock.agent.storage.domain import Meta, Volume
from interlock.agent.tasks.steps import Host
from interlock.verbs import Code, VolumeGetInfo

#: What old descriptions may lack.
_DEFAULTS = {"POOL_UUID": "", "DESCRIPTION": "", "LEGALITY": "LEGAL", "MTIME": "0", "GEN": "0"}


def volume_info(host: Host, verb: VolumeGetInfo) -> dict[str, Any]:  # Any: JSON values
    """The answer, sizes as strings as VDSM gives them. Raises `StepFailed`.

    There is no `lease`, as on VDSM's domains without leases. `children` are those in the same image.
    """
    domain = host.domains.find(verb.storagedomainID)
    volume = domain.volume(verb.imageID, verb.volumeID)
    try:
        meta = {**_DEFAULTS, **volume.meta()}
        domain.check_chain(volume)
        return {
            "uuid": verb.volumeID,
            "image": verb.imageID,
            "domain": verb.storagedomainID,
            **_described(meta),
            **_measured(volume),
            "children": _children(volume),
        }
    except (KeyError, ValueError) as error:
        raise StepFailed(
            Code.VOLUME_METADATA_READ_ERROR,
            f"{volume.meta_path} cannot be understood ({error!r}); restore it or remove the volume",
        ) from error
    except FileNotFoundError as error:
        raise StepFailed(Code.VOLUME_DOES_NOT_EXIST, f"volume {verb.volumeID} was removed meanwhile") from error


def _described(meta: Meta) -> dict[str, str | int]:
    return {
        "pool": meta["POOL_UUID"],
        "parent": meta["PUUID"],
        "format": meta["FORMAT"],
        "type": meta["TYPE"],
        "voltype": meta["VOLTYPE"],
        "disktype": meta["DISKTYPE"],
        "legality": meta["LEGALITY"],
        "description": meta["DESCRIPTION"],
        "capacity": meta["CAP"],
        "ctime": meta["CTIME"],
        "mtime": meta["MTIME"],
        "generation": int(meta["GEN"]),
        "status": "OK" if meta["LEGALITY"] == "LEGAL" else "ILLEGAL",
    }


def _measured(volume: Volume) -> dict[str, str]:
    file = volume.path.stat()
    return {"apparentsize": str(file.st_size), "truesize": str(file.st_blocks * 512)}


def _children(volume: Volume) -> list[str]:
    parents = lineage.parents_in(volume.path.parent)
    return sorted(child for child, parent in parents.items() if parent == volume.path.name)
