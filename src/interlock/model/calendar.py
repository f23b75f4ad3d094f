"""When schedules are due: cron expressions in an IANA time zone, and moments that people write.

Where a clock is put forward, a run at a time that does not exist comes just after; where it is put back, a run at a
time that comes twice comes once. Runs of every hour or minute follow the hours that pass.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from interlock.model.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS, _LENGTH_MAX = 5, 200


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises InvalidInput."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidInput(f"there is no time zone {name[:_LENGTH_MAX]!r}; name one as Europe/Berlin, or UTC") from None


def check_cron(cron: str) -> None:
    """Raises InvalidInput for what is no cron expression of five fields, or never comes."""
    if len(cron) > _LENGTH_MAX or len(cron.split()) != _FIELDS:
        raise InvalidInput(
            f"the cron expression {cron[:_LENGTH_MAX]!r} has not five fields; "
            "write minute, hour, day of the month, month and day of the week, as '0 2 * * mon-fri'"
        )
    try:
        first = next(CronSim(cron, _EPOCH), None)
    except (CronSimError, ValueError) as error:
        raise InvalidInput(f"the cron expression {cron!r} is wrong: {error}") from None
    if first is None:
        raise InvalidInput(f"the cron expression {cron!r} names a time that never comes")


def runs_after(cron: str, zone: str, after_us: int) -> Iterator[int]:
    """The times at which it is due, each later than the one before and than `after_us`; microseconds since 1970."""
    last = after_us
    for moment in CronSim(cron, (_EPOCH + timedelta(microseconds=after_us)).astimezone(zone_of(zone))):
        due = (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
        if due > last:  # an hour that comes twice may lead back
            last = due
            yield due


def moment_of(text: str, zone: str) -> int:
    """A moment in ISO 8601, of that zone where it names none; microseconds since 1970. Raises InvalidInput."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone_of(zone))
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{text[:_LENGTH_MAX]!r} is no moment; write it as 2027-01-31T02:00") from None
