"""The numbers by which a host says what went wrong: VDSM's where it has one, ours (47xx) otherwise."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Error numbers of the host protocol."""

    #: The host is finding its tasks again after a start; what it knows is no answer yet. Ask again.
    RECOVERY_IN_PROGRESS = 99
    #: An error that has no number of its own.
    GENERAL = 100
    VOLUME_DOES_NOT_EXIST = 201
    INCORRECT_FORMAT = 202
    #: Other volumes are built upon this image's volumes.
    IMAGE_HAS_CHILDREN = 204
    VOLUME_CREATION_ERROR = 205
    VOLUME_EXTENDING_ERROR = 206
    VOLUME_METADATA_READ_ERROR = 207
    VOLUME_ALREADY_EXISTS = 212
    #: A volume of another image can be built upon only if it is SHARED.
    VOLUME_NON_SHAREABLE = 214
    #: A SHARED volume is not changed.
    SHARED_VOLUME_NON_WRITABLE = 219
    #: A volume upon which others are built is not changed.
    INTERNAL_VOLUME_NON_WRITABLE = 220
    CANNOT_DELETE_VOLUME = 222
    VOLUME_COPY_ERROR = 225
    #: The volume is ILLEGAL: what it holds is not to be relied on.
    PREPARE_ILLEGAL_VOLUME = 227
    #: The new size is no size that the volume can have.
    VOLUME_RESIZE_VALUE_ERROR = 232
    MERGE_SNAPSHOTS_ERROR = 252
    MOVE_IMAGE_ERROR = 253
    IMAGE_DELETE_ERROR = 256
    #: The image has no volumes, two leaves, or a volume without its parent.
    IMAGE_IS_NOT_LEGAL_CHAIN = 262
    #: The other domain has an image of that id already.
    OVERWRITE_IMAGE_ERROR = 265
    IMAGE_DOES_NOT_EXIST_IN_SD = 268
    STORAGE_DOMAIN_CREATION_ERROR = 351
    STORAGE_DOMAIN_DETACH_ERROR = 356
    STORAGE_DOMAIN_DOES_NOT_EXIST = 358
    #: Images are in the domain.
    STORAGE_DOMAIN_NOT_EMPTY = 361
    STORAGE_DOMAIN_ALREADY_EXISTS = 365
    #: The domain was detached: no work is done on it.
    STORAGE_DOMAIN_NOT_MEMBER_OF_POOL = 375
    UNKNOWN_TASK = 401
    #: The task runs; what was asked needs one that is finished.
    NOT_FINISHED = 403
    #: The id is known already, with other arguments. It means "known", never "not started".
    ADD_TASK = 405
    #: The task is not in a state that allows this, such as clearing one that is not done.
    STATE_ERROR = 410
    #: The task was stopped.
    ABORTED = 411
    #: A move that the task machine does not allow.
    TRANSITION = 441
    NOT_SPM = 654
    IS_SPM = 656
    #: A resource lock was not free in time.
    RESOURCE_TIMEOUT = 851
    #: The host's queue or its table of tasks is full; nothing was started.
    RESOURCE_EXHAUSTED = 1100
    #: The flow's term is older than the highest that this host has seen of the flow. Nothing was done.
    TERM_TOO_OLD = 4701
    #: `Task.forbidOrGet` closed the id to this term. Nothing was done.
    START_FORBIDDEN = 4702
    #: The id is older than all that the host remembers of cleared tasks: it may have run. Nothing was done.
    TASK_ID_TOO_OLD = 4703
    #: The id was run and cleared. Nothing was done.
    TASK_CLEARED = 4704
    #: A file of the domain is no image, or refers to a backing or data file that is not the domain's.
    IMAGE_NOT_OURS = 4705
    #: The file system is full; what had been made was removed.
    NO_SPACE = 4706
    #: The agent's process ended in the middle of the task, which was undone.
    INTERRUPTED = 4707
    #: The agent's process ended inside a step that can be neither observed nor repeated: it may have run. Or a
    #: synchronous call has failed, and not all that it did was taken back.
    OUTCOME_UNKNOWN = 4708
    #: A folder outside those that the agent may use.
    FOLDER_NOT_ALLOWED = 4709
    #: The journal was damaged: what became of the task is not known any more.
    JOURNAL_DAMAGED = 4710
    #: The file system is mounted read-only.
    READ_ONLY = 4711
    #: The volume is at another generation than the call expects: somebody changed it since.
    GENERATION_MISMATCH = 4712
    #: The volumes are not parent and child in one chain, as the call says.
    WRONG_CHAIN = 4713
    #: The caller's database is of before a backup was restored: another one has taken its place. Nothing was done.
    GENERATION_TOO_OLD = 4714
