"""Host jobs on storage: work under an id that the caller chooses, asked about with `Host.getJobs`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from interlock.verbs.fields import Id
from interlock.verbs.verb import Verb

#: A volume's generation, which counts its changes, wraps here.
GENERATION_MAX = 999

Generation = Annotated[int, Field(ge=0, le=GENERATION_MAX)]


class VolumeEndpoint(BaseModel):
    """A volume as the source or the destination of a copy.

    With a `generation` the work is done only if the volume is still at it, and leaves it at the next one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    endpoint_type: Literal["div"]
    sd_id: Id
    img_id: Id
    vol_id: Id
    generation: Generation | None = None


class Subchain(BaseModel):
    """A volume (`top_id`) that is to be merged into the one it is built upon (`base_id`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sd_id: Id
    img_id: Id
    top_id: Id
    base_id: Id
    base_generation: Generation | None = None

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.top_id == self.base_id:
            raise ValueError("top_id and base_id must be two volumes")
        return self


class HostJobVerb(Verb):
    """Starts a host job; answers true. The job has the id `job_id`, whatever `taskID` a caller could give."""

    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    is_host_job: ClassVar[bool] = True
    #: What the job calls itself in `Host.getJobs`.
    description: ClassVar[str]
    job_id: Id


class SdmCopyData(HostJobVerb):
    """Copy what a volume shows above its own parent into a volume that exists."""

    method: ClassVar[str] = "SDM.copy_data"
    description: ClassVar[str] = "copy_data"
    source: VolumeEndpoint
    destination: VolumeEndpoint
    copy_bitmaps: Literal[False] = False

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.source.vol_id == self.destination.vol_id and self.source.sd_id == self.destination.sd_id:
            raise ValueError("source and destination must be two volumes")
        return self


class SdmMerge(HostJobVerb):
    """Write what the top volume of a subchain holds into its base. The top stays until `finalizeMerge`."""

    method: ClassVar[str] = "SDM.merge"
    description: ClassVar[str] = "merge_subchain"
    subchain_info: Subchain
    merge_bitmaps: Literal[False] = False
