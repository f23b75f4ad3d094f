"""The kill matrix has a flow for every command of the catalog, and a wrong end is found out."""

from collections import Counter
from typing import Any

import pytest

from interlock.agent.journal.format import encode
from interlock.virt.catalog import CATALOG
from tests.killing.flows import FLOWS, Flow
from tests.killing.groups import groups
from tests.killing.matrix import Wanted
from tests.killing.site_flows import accepted, differences


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
