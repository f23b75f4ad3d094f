"""How each verb that makes a task is carried out."""

from collections.abc import Mapping
from typing import Any

from interlock.agent.tasks.steps import Program
from interlock.agent.verbs import (
    domain_create,
    domain_detach,
    finalize_merge,
    image_clone,
    image_delete,
    image_move,
    image_sync,
    prepare_merge,
    sdm_copy_data,
    sdm_merge,
    spm,
    volume_copy,
    volume_create,
    volume_delete,
    volume_extend,
)
from interlock.verbs import (
    ImageCloneStructure,
    ImageDelete,
    ImageDeleteVolumes,
    ImageMove,
    ImageSyncData,
    SdmCopyData,
    SdmMerge,
    StorageDomainCreate,
    StorageDomainDetach,
    StoragePoolFinalizeMerge,
    StoragePoolPrepareMerge,
    StoragePoolSpmStart,
    StoragePoolSpmStop,
    Verb,
    VolumeCopy,
    VolumeCreate,
    VolumeDelete,
    VolumeExtendSize,
)

#: The program of each verb that is recorded as a task. Any: a program of its own verb, which is the key.
PROGRAMS: Mapping[type[Verb], Program[Any]] = {
    StorageDomainCreate: domain_create.PROGRAM,
    StorageDomainDetach: domain_detach.PROGRAM,
    StoragePoolSpmStart: spm.START,
    StoragePoolSpmStop: spm.STOP,
    StoragePoolPrepareMerge: prepare_merge.PROGRAM,
    StoragePoolFinalizeMerge: finalize_merge.PROGRAM,
    SdmCopyData: sdm_copy_data.PROGRAM,
    SdmMerge: sdm_merge.PROGRAM,
    VolumeCreate: volume_create.PROGRAM,
    VolumeCopy: volume_copy.PROGRAM,
    VolumeDelete: volume_delete.PROGRAM,
    VolumeExtendSize: volume_extend.PROGRAM,
    ImageDelete: image_delete.PROGRAM,
    ImageDeleteVolumes: volume_delete.PROGRAM,
    ImageMove: image_move.PROGRAM,
    ImageCloneStructure: image_clone.PROGRAM,
    ImageSyncData: image_sync.PROGRAM,
}
