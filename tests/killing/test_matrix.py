"""The kill matrix has a flow for every command of the catalog, and a wrong end is found out."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from interlock.agent.journal.format import encode
from interlock.virt.catalog import CATALOG
from tests.killing.flows import FLOWS, Flow
from tests.killing.groups import groups
from tests.killing.matrix import Wanted
from tests.killing.site_flows import SiteFlow, accepted, differences, untold
from tests.killing.world import World, Worlds


def test_every_command_of_the_catalog_is_killed_in_some_flow() -> None:
    killed = {name for flow in FLOWS for name in (flow.command, *flow.parts)}
    assert killed == set(CATALOG.commands)


def test_every_flow_has_a_title_of_its_own() -> None:
    assert [title for title, number in Counter(flow.title for flow in FLOWS).items() if number > 1] == []
    assert {flow.title for flow in FLOWS} < set(groups())


FLOW = Flow("disk.move", {"disk": "{name}"}, changes={"disk {name}": "OK, holds 7", "disk {name}_moving": None})
BEFORE = {"disk a": "OK, holds 7", "disk a_moving": "ILLEGAL", "disk b": "OK, holds 8"}
AFTER = {"disk a": "OK, holds 7", "disk b": "OK, holds 8"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (AFTER, []),
        (AFTER | {"disk a": "LOCKED, holds 7"}, ["disk a is LOCKED, holds 7, not OK, holds 7"]),
        (AFTER | {"disk b": "OK, no image"}, ["disk b is OK, no image, not OK, holds 8"]),
        (AFTER | {"x/images/y": "named by no disk"}, ["x/images/y is named by no disk, not None"]),
        ({"disk b": "OK, holds 8"}, ["disk a is None, not OK, holds 7"]),
    ],
)
def test_whatever_differs_from_what_a_flow_is_to_change_is_found(found: dict[str, str], words: list[str]) -> None:
    assert differences(FLOW.after(BEFORE, "a"), found) == words


@pytest.mark.parametrize(
    ("size", "is_left", "words"),
    [(1, False, []), (2, True, []), (2, False, ["disk a is 2 MiB"]), (3, True, ["disk a is 3 MiB"]), (4, True, [])],
)
def test_a_disk_that_may_be_larger_than_its_row_says_and_is_told_of_counted_as_untold(
    size: int, is_left: bool, words: list[str]
) -> None:
    """1: as before, 2: in doubt, 4: as after."""
    worlds = [{"disk a": "1 MiB", "disk b": "OK"}, {"disk a": "4 MiB", "disk b": "OK"}]
    doubtful: World = {"disk a": "2 MiB"}
    assert untold(worlds, doubtful, is_left, {"disk a": f"{size} MiB", "disk b": "OK"}) == words
    assert untold(worlds, doubtful, is_left, {"disk a": f"{size} MiB"}) == [*words, "disk b is None"]


def test_a_success_before_the_cancel_that_left_something_of_best_effort_counted_as_a_wrong_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stock: Any = SimpleNamespace(stock=True, api=lambda path: {"events": []})
    judged = SiteFlow(stock, replace(FLOW, is_cancelled=True, result="CANCELLED"))
    monkeypatch.setattr(Worlds, "now", lambda worlds: {"disk run": "OK, holds 7", "disk run_moving": "ILLEGAL"})
    job = {"id": "j", "result": "SUCCEEDED", "leftovers": ["one"], "failure": None}
    judged.judge("run", job, "commit:5:after")
    with pytest.raises(AssertionError, match="commit:5:after: CANCELLED"):
        judged.judge("run", job | {"result": "CANCELLED"}, "commit:5:after")


def test_what_was_cleared_before_a_journal_was_written_anew_counted_as_never_accepted() -> None:
    header = {"kind": "journal", "version": 2, "incarnation": "i", "entries": 3, "damage": None}
    kept = [{"kind": "low_water"}, _task("b", "finished"), {"kind": "cleared", "ids": ["a"]}]
    later = [_task("c", "init"), _task("c", "finished"), {"kind": "cleared", "ids": ["b"]}]
    journal = b"".join(encode(number, 0, entry) for number, entry in enumerate([header, *kept, *later], 1))
    assert list(accepted(journal)) == [("b", "f"), ("a", None), ("c", "f")]


def _task(id: str, state: str) -> dict[str, Any]:
    return {"kind": "task", "task": {"id": id, "flow": "f", "state": state}}


def test_only_kills_in_which_every_pattern_is_found_are_wanted() -> None:
    wanted = Wanted((":before$",)).within("^commit")
    orders = ["commit:1:before", "commit:1:after", "host:Task.clear:1:before"]
    assert [order for order in orders if wanted.has(order)] == ["commit:1:before"]
