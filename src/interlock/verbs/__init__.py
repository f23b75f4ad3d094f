"""The calls of the host protocol, typed: what the agent understands and the coordinator sends."""

from interlock.verbs.codes import Code
from interlock.verbs.fields import (
    BLANK_ID,
    SIZE_BYTES_MAX,
    DomainClass,
    DomainType,
    Preallocate,
    VolumeFormat,
    VolumeType,
)
from interlock.verbs.host import HostGetAllTasks, HostGetAllTasksStatuses, HostGetCapabilities, HostPing2
from interlock.verbs.parsing import (
    VERBS,
    BadCall,
    InvalidParams,
    UnknownVerb,
    parse,
    parse_sender,
    parse_task_id,
)
from interlock.verbs.storage import ImageDelete, StorageDomainCreate, VolumeCopy, VolumeCreate, VolumeGetInfo
from interlock.verbs.task import TaskClear, TaskForbidOrGet, TaskGetInfo, TaskGetStatus, TaskStop
from interlock.verbs.verb import (
    CAPABILITY,
    CORRELATION_HEADER,
    EXTENSION_VERSION,
    FLOW_HEADER,
    TASK_ID_PARAM,
    TERM_HEADER,
    Verb,
)
from interlock.verbs.words import TaskResult, TaskState, TaskStatus

__all__ = [
    "BLANK_ID",
    "CAPABILITY",
    "CORRELATION_HEADER",
    "EXTENSION_VERSION",
    "FLOW_HEADER",
    "SIZE_BYTES_MAX",
    "TASK_ID_PARAM",
    "TERM_HEADER",
    "VERBS",
    "BadCall",
    "Code",
    "DomainClass",
    "DomainType",
    "HostGetAllTasks",
    "HostGetAllTasksStatuses",
    "HostGetCapabilities",
    "HostPing2",
    "ImageDelete",
    "InvalidParams",
    "Preallocate",
    "StorageDomainCreate",
    "TaskClear",
    "TaskForbidOrGet",
    "TaskGetInfo",
    "TaskGetStatus",
    "TaskResult",
    "TaskState",
    "TaskStatus",
    "TaskStop",
    "UnknownVerb",
    "Verb",
    "VolumeCopy",
    "VolumeCreate",
    "VolumeFormat",
    "VolumeGetInfo",
    "VolumeType",
    "parse",
    "parse_sender",
    "parse_task_id",
]
