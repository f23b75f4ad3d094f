"""Actions: what a person can do, in the words of the audit chain, and upon what."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from interlock.model.refs import Ref


class Action(StrEnum):
    """What a person did (`ActionRecord.what`)."""

    #: a command was submitted; its subject is the job
    JOB_SUBMIT = "job.submit"
    #: a job, or a part of it, was cancelled
    JOB_CANCEL = "job.cancel"
    #: the tasks of a job, or of a part of it, were stopped
    JOB_STOP = "job.stop"
    #: tasks of a job that was cancelled were abandoned
    JOB_FORCE = "job.force"
    #: a command was ended without its phases, as succeeded
    JOB_FORCE_SUCCESS = "job.force-success"
    #: a command was ended without its phases, as failed
    JOB_FORCE_FAILURE = "job.force-failure"
    #: what had failed, or needed attention, was tried again
    JOB_RETRY = "job.retry"
    #: the failure of a part was decided not to count
    JOB_SKIP = "job.skip"
    #: a job that was over was begun once more, as a job of its own
    JOB_RESTART = "job.restart"
    #: a job was paused
    JOB_PAUSE = "job.pause"
    #: a paused job goes on
    JOB_RESUME = "job.resume"
    #: a job got another priority
    JOB_PRIORITY = "job.priority"
    #: a job is not listed any more
    JOB_HIDE = "job.hide"
    #: a hidden job is listed again
    JOB_SHOW = "job.show"
    #: a leftover was attested to be gone
    LEFTOVER_CLEAR = "leftover.clear"
    #: a question of a job was answered
    WAIT_ANSWER = "wait.answer"
    #: a signal was sent
    SIGNAL_SEND = "signal.send"
    #: a monitor was told what somebody observed
    REPORT_TELL = "report.tell"
    #: a schedule was made
    SCHEDULE_CREATE = "schedule.create"
    #: a schedule was changed
    SCHEDULE_CHANGE = "schedule.change"
    #: a schedule was paused
    SCHEDULE_PAUSE = "schedule.pause"
    #: a paused schedule goes on
    SCHEDULE_RESUME = "schedule.resume"
    #: a schedule was removed
    SCHEDULE_REMOVE = "schedule.remove"
    #: ended jobs whose time was over were removed at once
    RETENTION_RUN = "retention.run"
    #: a limit was set
    LIMIT_SET = "limit.set"
    #: a limit was removed
    LIMIT_REMOVE = "limit.remove"


def job_ref(id: UUID) -> Ref[Any]:
    """A job as the subject of an action."""
    return Ref("job", id)


def leftover_ref(id: UUID) -> Ref[Any]:
    """A leftover as the subject of an action."""
    return Ref("leftover", id)
