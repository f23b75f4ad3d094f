"""Volume.getInfo: what the host knows of a volume, read at once."""

from __future__ import annotations

from typing import Any

from interlock.agent.steps import Host
from interlock.verbs import VolumeGetInfo


def volume_info(host: Host, verb: VolumeGetInfo) -> dict[str, Any]:  # Any: JSON values
    """The answer, sizes as strings as VDSM gives them. Raises `StepFailed`."""
    domain = host.domains.find(verb.storagedomainID)
    volume = domain.volume(verb.imageID, verb.volumeID)
    meta = volume.meta()
    domain.check_chain(volume)
    file = volume.path.stat()
    return {
        "uuid": verb.volumeID,
        "image": verb.imageID,
        "domain": verb.storagedomainID,
        "pool": verb.storagepoolID,
        "parent": meta["PUUID"],
        "format": meta["FORMAT"],
        "type": meta["TYPE"],
        "voltype": meta["VOLTYPE"],
        "disktype": meta["DISKTYPE"],
        "legality": meta["LEGALITY"],
        "description": meta["DESCRIPTION"],
        "capacity": meta["CAP"],
        "apparentsize": str(file.st_size),
        "truesize": str(file.st_blocks * 512),
        "ctime": meta["CTIME"],
        "generation": int(meta["GEN"]),
        "status": "OK" if meta["LEGALITY"] == "LEGAL" else "ILLEGAL",
        "children": sorted(domain.children_within(volume)),
    }
