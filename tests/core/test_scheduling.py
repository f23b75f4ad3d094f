"""When schedules are due: clocks that are put forward and back, what is missed, and what never comes."""

from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.scheduling import advanced, is_due, resumed, skipped, why_not
from interlock.model.calendar import check_cron, moment_of, runs_after
from interlock.model.errors import InvalidInput
from interlock.model.replacing import replace
from interlock.model.schedules import Missed, ScheduleRecord

S = 1_000_000
HOUR = 3600 * S


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def runs(cron: str, zone: str, after: str, count: int) -> list[str]:
    found = islice(runs_after(cron, zone, us(after)), count)
    return [datetime.fromtimestamp(each / S, UTC).strftime("%m-%dT%H:%M") for each in found]


SCHEDULE = ScheduleRecord(
    UUID(int=1), "nightly", "c", 1, "{}", "{}", "ada", "t", 0, 0, "0 * * * *", "UTC", Missed.RUN, 7200, next_at=HOUR
)


def test_a_time_that_does_not_exist_comes_just_after() -> None:
    assert runs("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", 3) == ["03-28T01:30", "03-29T01:00", "03-30T00:30"]


def test_a_time_that_comes_twice_comes_once() -> None:
    assert runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["10-25T00:30", "10-26T01:30"]


def test_within_the_hour_that_comes_again_no_run_leads_back() -> None:
    # 02:10 for the second time: 02:30 has been
    assert runs("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", 1) == ["10-26T01:30"]


def test_every_hour_is_every_hour_that_passes() -> None:
    assert runs("0 * * * *", "Europe/Berlin", "2026-10-24T23:30", 3) == ["10-25T00:00", "10-25T01:00", "10-25T02:00"]


CRONS = ("30 2 * * *", "*/7 * * * *", "0 3 29 2 *", "59 23 l * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca")


@given(st.integers(0, 4 * 10**15), st.sampled_from(CRONS), st.sampled_from(ZONES))
def test_runs_only_ever_come_later(after: int, cron: str, zone: str) -> None:
    found = [after, *islice(runs_after(cron, zone, after), 4)]
    assert found == sorted(set(found))
    assert len(found) == 5


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "* * * * * *", "61 * * * *", "a b c d e", "0 0 30 2 *", "0 0 31 2,4 *", f"{'9' * 5000} * * * *",
     "*/0 * * * *", "5-1 * * * *", "0 0 * 2 mon#6", "\u0661 * * * *"],
)  # fmt: skip
def test_a_wrong_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(InvalidInput):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["", "Mars", "../UTC", "Europe", "/etc/localtime", "a\0b", "europe/\ud800"])
def test_a_wrong_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput):
        moment_of("2027-01-01T00:00", zone)


def test_a_moment_is_of_the_zone_unless_it_names_one() -> None:
    assert moment_of("2027-07-01T02:00", "Europe/Berlin") == us("2027-07-01T00:00")
    assert moment_of("2027-07-01T02:00Z", "Europe/Berlin") == us("2027-07-01T02:00")
    for wrong in ("tomorrow", "2027-13-01", "0001-01-01T00:00+23:59", "9" * 300):
        with pytest.raises(InvalidInput):
            moment_of(wrong, "UTC")


def test_what_is_due_begins_and_its_next_time_is_later_than_now() -> None:
    assert not is_due(SCHEDULE, HOUR - 1)
    assert is_due(SCHEDULE, HOUR)
    assert not is_due(replace(SCHEDULE, paused_by="bob"), HOUR)
    assert why_not(SCHEDULE, HOUR, is_running=False) is None
    assert advanced(SCHEDULE, HOUR).next_at == 2 * HOUR
    assert advanced(SCHEDULE, 9 * HOUR + S).next_at == 10 * HOUR
    assert advanced(replace(SCHEDULE, cron=None), HOUR).next_at is None


def test_a_clock_that_is_put_back_begins_nothing_twice() -> None:
    begun = advanced(SCHEDULE, HOUR)
    assert not is_due(begun, 0)
    assert advanced(begun, 0).next_at == 3 * HOUR


@pytest.mark.parametrize(
    ("missed", "late", "begins"),
    [(Missed.RUN, 7200 * S, True), (Missed.RUN, 7201 * S, False), (Missed.SKIP, 120 * S, True),
     (Missed.SKIP, 121 * S, False)],
)  # fmt: skip
def test_what_was_missed_begins_only_within_its_bound(missed: Missed, late: int, begins: bool) -> None:
    reason = why_not(replace(SCHEDULE, missed=missed), HOUR + late, is_running=False)
    assert (reason is None) == begins


def test_nothing_begins_while_the_one_before_runs() -> None:
    reason = why_not(SCHEDULE, HOUR, is_running=True)
    assert reason == "its former job, None, has not ended"
    passed = skipped(SCHEDULE, HOUR, reason)
    assert (passed.skipped, passed.skipped_at, passed.skipped_reason, passed.next_at) == (1, HOUR, reason, 2 * HOUR)


def test_what_was_paused_makes_up_for_nothing_that_recurs() -> None:
    paused = replace(SCHEDULE, paused_by="bob")
    assert resumed(paused, 5 * HOUR) == replace(SCHEDULE, next_at=6 * HOUR, updated_at=5 * HOUR)
    assert resumed(paused, 5) == replace(SCHEDULE, updated_at=5)
    once = replace(paused, cron=None)
    assert resumed(once, 5 * HOUR).next_at == HOUR
