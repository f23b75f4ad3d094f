"""The ledger: its shorter entries say the same, and what it forgets it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agent.journal.ledger import Ledger
from interlock.agent.journal.remembering import is_time_ordered
from interlock.agent.records import Entry, Failure, HostTask
from interlock.agent.task_machine import Inner

IDS = [f"0190a0b0-0000-7000-8000-{number:012x}" for number in range(8)]
#: Of callers whose ids do not tell their age.
OTHERS = [f"{number:x}190a0b0-0000-4000-8000-000000000000" for number in (15, 0, 9, 3, 12)]
ANY_ID = st.sampled_from([*IDS, *OTHERS])
TASK = HostTask(
    id=IDS[0],
    method="Image.delete",
    params={"imageID": IDS[1], "force": False},
    flow=IDS[2],
    term=3,
    correlation_id="c",
    state=Inner.RECOVERING,
    code=411,
    message="m",
    steps_done=2,
    is_begun=True,
    recoveries=("a", "b"),
    is_stopping=True,
    failure=Failure(411, "stopped", True),
    is_kept=False,
)


def folded(entries: list[Entry], closed_max: int = 3) -> Ledger:
    ledger = Ledger(closed_max=closed_max, flows_max=3)
    for entry in entries:
        ledger.apply(entry)
    return ledger


def facts(ledger: Ledger) -> object:
    return (ledger.tasks, ledger.closed, ledger.low_water, ledger.terms, ledger.flow_low_water)


def test_a_record_comes_back_whole() -> None:
    assert HostTask.from_entry(TASK.to_entry()) == TASK


ENTRIES = st.one_of(
    ANY_ID.map(lambda id_: HostTask(id_, "Image.delete", {}).to_entry()),
    ANY_ID.map(lambda id_: {"kind": "cleared", "ids": [id_]}),
    st.tuples(ANY_ID, st.integers(0, 5)).map(lambda p: {"kind": "forbidden", "terms": dict([p])}),
    st.tuples(ANY_ID, st.integers(0, 5)).map(lambda p: {"kind": "terms", "terms": dict([p])}),
)


@given(st.lists(ENTRIES, max_size=40))
def test_the_shorter_entries_say_the_same_and_are_bounded(entries: list[Entry]) -> None:
    ledger = folded(entries)
    again = folded(list(ledger.entries()))
    assert facts(again) == facts(ledger)
    for remembered in (ledger.closed, ledger.terms):
        assert sum(map(is_time_ordered, remembered)) <= 3
        assert sum(not is_time_ordered(id_) for id_ in remembered) <= 3


@pytest.mark.hard_case(2)
@given(st.lists(ENTRIES, max_size=40))
def test_every_id_that_was_ever_closed_stays_refused_or_was_started(entries: list[Entry]) -> None:
    ledger = folded(entries)
    closed = {id_ for entry in entries if entry["kind"] == "cleared" for id_ in entry["ids"]}
    started = {entry["task"]["id"] for entry in entries if entry["kind"] == "task"}
    for id_ in filter(is_time_ordered, closed - started):
        assert id_ in ledger.closed or ledger.is_too_old(id_)


@given(st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 5)), max_size=40))
def test_a_flows_term_is_the_highest_ever_or_the_flow_is_too_old(noted: list[tuple[str, int]]) -> None:
    ledger, highest = folded([]), dict[str, int]()
    for flow, term in noted:
        if not ledger.is_flow_too_old(flow):  # a call of such a flow is refused
            ledger.apply({"kind": "terms", "terms": {flow: term}})
            highest[flow] = max(term, highest.get(flow, 0))
    for flow, term in highest.items():
        assert ledger.is_flow_too_old(flow) or ledger.highest_term(flow) == term


def test_an_id_that_does_not_tell_its_age_is_forgotten_in_turn_and_makes_no_other_too_old() -> None:
    ledger = folded([{"kind": "cleared", "ids": [*OTHERS, IDS[7]]}])
    assert set(ledger.closed) == {*OTHERS[2:], IDS[7]}
    assert ledger.low_water == ""
    ledger.apply({"kind": "cleared", "ids": IDS[:7]})
    assert set(ledger.closed) == {*OTHERS[2:], *IDS[5:]}
    assert ledger.low_water == IDS[4]
    assert [ledger.is_too_old(id_) for id_ in OTHERS] == [False] * len(OTHERS)


def test_a_flow_that_does_not_tell_its_age_makes_no_other_too_old() -> None:
    ledger = folded([{"kind": "terms", "terms": {flow: 1 for flow in (*OTHERS, *IDS[:4])}}])
    assert (set(ledger.terms), ledger.flow_low_water) == ({*OTHERS[2:], *IDS[1:4]}, IDS[0])
    assert not ledger.is_flow_too_old(OTHERS[1])
    assert ledger.is_flow_too_old(IDS[0])
