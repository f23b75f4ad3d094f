"""Times as people write them, in UTC: "2 hours ago", today, 2026-01-31, 2026-01-31T08:00."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400 * 1_000_000
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400}
_SHORT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"([0-9]{1,6}) *(second|minute|hour|day|week)s? +ago", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) *([smhd])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

#: what one may write, for messages and completion
EXAMPLES = ("now", "today", "yesterday", '"2 hours ago"', '"7 days ago"', "2026-01-31", "2026-01-31T08:00")


def moment(text: str, now: int) -> tuple[int, int] | None:
    """The microseconds that a time begins at and that what it names ends before (a day is as long as a day, all else
    a moment); None: it is no time."""
    word = text.strip().casefold()
    if word == "now":
        return now, now + 1
    if word in ("today", "yesterday"):
        day = now - now % _DAY_US - (_DAY_US if word == "yesterday" else 0)
        return day, day + _DAY_US
    ago = _AGO.fullmatch(word)
    if ago is not None:
        at = now - int(ago[1]) * _UNITS_S[ago[2]] * 1_000_000
        return at, at + 1
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    at = (time - _EPOCH) // timedelta(microseconds=1)
    return at, at + (_DAY_US if _DATE.fullmatch(text.strip()) else 1)


def span(text: str) -> int | None:
    """How many microseconds `90s`, `15m`, `2h` or `1d` are; None: it is no span."""
    found = _SPAN.fullmatch(text.strip().casefold())
    return None if found is None else round(float(found[1]) * _SHORT_S[found[2]] * 1e6)
