"""What is answered to those who wait for a commit of the engine."""

import structlog

from interlock.coordinator.refusing import was_refused
from interlock.coordinator.work import Slot
from interlock.model.errors import Bug, InterlockError, Refused

_log = structlog.get_logger(__name__)


def accepted(slot: Slot) -> None:
    """The submission is stored: who waits gets the job's id, or the refusal."""
    assert slot.accepted is not None
    slot.submission = None
    if slot.accepted.done():
        return
    refusal = was_refused(slot.flow)
    if refusal is None:
        slot.accepted.set_result(slot.flow.id)
    else:
        reasons = [cause.message for cause in refusal.causes] or [refusal.message]
        slot.accepted.set_exception(Refused(*reasons, job_id=slot.flow.id))


def given_up(slot: Slot) -> None:
    """Nobody will run this slot any more: who waits for it learns so."""
    if slot.accepted is not None and not slot.accepted.done():
        slot.accepted.set_exception(InterlockError("the engine stopped; submit again with the same idempotency key"))
    waiting = [asked.done for asked in slot.errands]
    for done in [*waiting, slot.outside.done if slot.outside is not None else None]:
        if done is not None and not done.done():
            done.set_exception(InterlockError("the engine stopped; look whether it was done, and ask again"))


def as_bug(slot: Slot, error: BaseException) -> Bug:
    """What a run raised that nobody may raise: logged whole, told in a line."""
    _log.error("run_failed", flow=str(slot.flow.id), exc_info=error)
    return Bug(f"flow {slot.flow.id}: {type(error).__name__}: {error}; see the log, and report it")
