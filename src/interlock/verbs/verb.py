"""What every call of the host protocol is: a frozen model that carries the wire's own parameter names."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

#: The parameter by which a caller chooses the id of a mutating call (extension only).
TASK_ID_PARAM = "taskID"
#: STOMP headers by which a caller names a call's flow and that flow's term (extension only).
FLOW_HEADER = "interlockFlow"
TERM_HEADER = "interlockTerm"
#: And whose database the flow is of, and how new that is: it is raised whenever a backup was restored (extension only).
CLUSTER_HEADER = "interlockCluster"
GENERATION_HEADER = "interlockGeneration"
#: VDSM's own header for the id that ties log lines of several machines together.
CORRELATION_HEADER = "ovirtCorrelationId"
#: The key under which `Host.getCapabilities` announces the extension.
CAPABILITY = "interlock"
EXTENSION_VERSION = 1


class Verb(BaseModel):
    """One typed call. Its fields are the parameters; anything else is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The wire's name of the call.
    method: ClassVar[str]
    #: The answer is a task's id and the work goes on after it.
    is_async: ClassVar[bool] = False
    #: The host changes something that outlives the answer; such a call carries flow, term, cluster and generation.
    is_mutating: ClassVar[bool] = False
    #: The work is a host job under an id among the parameters (`job_id`).
    is_host_job: ClassVar[bool] = False
    #: With the extension, the call is recorded under an id that the caller chooses (`TASK_ID_PARAM`).
    takes_task_id: ClassVar[bool] = False

    def wire_params(self) -> dict[str, Any]:  # Any: JSON values
        """The parameters as they go over the wire; those that were left out stay left out."""
        return self.model_dump(mode="json", exclude_none=True)
