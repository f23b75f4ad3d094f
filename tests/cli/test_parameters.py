"""Parameters as typed become values, or every mistake is named."""

import pytest

from interlock.cli.exits import Exit, Stop
from interlock.cli.parameters import parse, seconds


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        ([], {}),
        (["vm=web1"], {"vm": "web1"}),
        (["vm="], {"vm": ""}),
        (["a=b=c"], {"a": "b=c"}),
        (["disk=a", "vm=x", "disk=b"], {"disk": ["a", "b"], "vm": "x"}),
        (["n:=5", "on:=true", 'd:=[{"size": "1GiB"}]'], {"n": 5, "on": True, "d": [{"size": "1GiB"}]}),
        (["url=http://x:=y"], {"url": "http://x:=y"}),
    ],
)
def test_words_become_parameters(words: list[str], parameters: dict[str, object]) -> None:
    assert parse(words) == parameters


@pytest.mark.parametrize(("text", "span"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400)])
def test_a_span_of_time_has_its_unit(text: str, span: float) -> None:
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "1 h", "1w", "1e3s", "٣s", "1h30m", "1" * 10 + "s"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(Stop, match="write 90s, 15m, 2h or 1d"):
        seconds(text)


def test_every_mistake_is_named() -> None:
    with pytest.raises(Stop) as stopped:
        parse(["vm", "=x", "n:={", "x:=NaN", "a=1", "a:=1", "b:=1", "b:=2", "deep:=" + "[" * 100_000])
    assert stopped.value.code is Exit.USAGE
    reasons = [reason[:60] for reason in stopped.value.reasons]
    assert reasons == [
        "'vm' is not a parameter; write key=text or key:=json",
        "'=x' is not a parameter; write key=text or key:=json",
        "n: '{' is not JSON (Expecting property name enclosed in doub",
        "x: 'NaN' is not JSON (NaN is not a JSON value)",
        "b is given twice as JSON; give it once",
        f"deep: '{'[' * 53}",
        "a is given both as text and as JSON; choose one",
    ]
