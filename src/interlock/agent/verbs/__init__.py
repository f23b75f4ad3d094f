"""How each verb that makes a task is carried out."""

from collections.abc import Mapping
from typing import Any

from interlock.agent.steps import Program
from interlock.agent.verbs import domain_create, image_delete, volume_copy, volume_create
from interlock.verbs import ImageDelete, StorageDomainCreate, Verb, VolumeCopy, VolumeCreate

#: The program of each verb that is recorded as a task. Any: a program of its own verb, which is the key.
PROGRAMS: Mapping[type[Verb], Program[Any]] = {
    StorageDomainCreate: domain_create.PROGRAM,
    VolumeCreate: volume_create.PROGRAM,
    VolumeCopy: volume_copy.PROGRAM,
    ImageDelete: image_delete.PROGRAM,
}
