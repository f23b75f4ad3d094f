"""What a terminal shows: nothing that steers it, no colours unless wanted, ids whole."""

import pytest

from interlock.cli import output
from tests.cli.conftest import Interlock
from tests.cli.serving import Server
from tests.views import picture


def test_ids_are_never_shortened(server: Server, interlock: Interlock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    ran = interlock("jobs", terminal=True)
    assert str(picture.RUNNING_JOB) in ran.out
    assert str(picture.FAILED_JOB) in ran.out


@pytest.mark.parametrize("no_color", [True, False])
def test_colours_only_where_they_are_wanted(
    server: Server, interlock: Interlock, monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    ran = interlock("jobs", terminal=True)
    assert ("\x1b[36m" in ran.out) is not no_color
    assert "STARTED" in ran.out


def test_a_watched_job_is_a_tree_on_a_terminal(
    server: Server, interlock: Interlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    server.when_waited_for(lambda: picture.end_running_job(server.database))
    ran = interlock("job", "watch", str(picture.RUNNING_JOB), terminal=True)
    assert ran.code == 0
    assert "│   └── 42% DELETE_IMAGE Remove image d1 STARTED" in ran.out
    assert "│   └── 100% DELETE_IMAGE Remove image d1 FINISHED" in ran.out


def test_no_colours_when_piped(server: Server, interlock: Interlock) -> None:
    assert "\x1b" not in interlock("jobs").out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (False, ""),
        (0, "0"),
        ("ü", "ü"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_values_are_one_harmless_line(value: object, shown: str) -> None:
    assert output.plain(value) == shown


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (None, ""),
        ("2026-01-01T00:00:01.500000Z", "1.5 s"),
        ("2026-01-01T00:01:01.000000Z", "1 min 1 s"),
        ("2026-01-02T01:02:03.000000Z", "25 h 2 min"),
    ],
)
def test_durations_are_for_people(end: str | None, shown: str) -> None:
    assert output.duration("2026-01-01T00:00:00.000000Z", end) == shown
