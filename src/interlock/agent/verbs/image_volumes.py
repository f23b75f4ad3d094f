"""Image.getVolumes and Image.getVolumesList: the ids of an image's volumes, read at once."""

from __future__ import annotations

from interlock.agent.records import StepFailed
from interlock.agent.storage import lineage
from interlock.agent.tasks.steps import Host
from interlock.verbs import Code, ImageGetVolumes, ImageGetVolumesList


def image_volumes(host: Host, verb: ImageGetVolumes | ImageGetVolumesList) -> list[str]:
    """The ids, base first, also of an image whose volumes are no whole chain. Raises `StepFailed`."""
    domain = host.domains.find(verb.storagedomainID)
    folder = domain.image(verb.imageID)
    if not folder.is_dir():
        raise StepFailed(
            Code.IMAGE_DOES_NOT_EXIST_IN_SD,
            f"Image does not exist in domain: image={verb.imageID}, domain={verb.storagedomainID}",
        )
    ids = lineage.base_first(lineage.parents_in(folder))
    return [volume_id for volume_id in ids if domain.volume(verb.imageID, volume_id).exists()]
