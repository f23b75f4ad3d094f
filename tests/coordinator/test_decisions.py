"""What people decide about parts that failed, where it is not all of them or not what they named."""

import pytest

from interlock import Decision, Refused, Result, part, sequence
from tests.coordinator.support import commands, job, opened
from tests.coordinator.test_asking import MEMBERS, PLANS, Copy, asked, copy, ended, latest, to_fail, undone
from tests.databases import Scratch

PLANS["past return"] = sequence(copy("a"), part(Copy(word="b"), no_return=True), copy("c"))


@pytest.fixture(autouse=True)
def _as_new() -> None:
    to_fail.clear()
    undone.clear()


@pytest.mark.parametrize("decision", [Decision.RETRY, Decision.SKIP])
async def test_who_names_one_of_several_alternatives_means_them_all(scratch: Scratch, decision: Decision) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "one of two", "a", "b")
        first = next(row for row in commands(coordinator, id) if row.key == "a")
        to_fail["a"] = 1 if decision is Decision.RETRY else 0
        await coordinator.settle(id, decision, by="ann", reason="x", command_id=first.id)
        assert (await ended(coordinator, id)).result is Result.SUCCEEDED
        again = (Result.FAILED, 2), (Result.SUCCEEDED, 2)
        skipped = (Result.FAILED, 1), (Result.FAILED, 1)
        a, b = again if decision is Decision.RETRY else skipped
        assert latest(coordinator, id) == {"a": a, "b": b, "c": (Result.SUCCEEDED, 2)}


@pytest.mark.parametrize("decision", [Decision.RETRY, Decision.SKIP])
async def test_what_never_began_is_not_what_failed(scratch: Scratch, decision: Decision) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "in turn", "b")
        before = commands(coordinator, id)
        never = next(row for row in before if row.key == "c")
        with pytest.raises(Refused, match=r"Copy c .* never began, since others failed; name one of those"):
            await coordinator.settle(id, decision, by="ann", reason="x", command_id=never.id)
        assert commands(coordinator, id) == before
        await coordinator.cancel(id, by="ann")
        await ended(coordinator, id)


async def test_what_asks_past_its_point_of_no_return_can_be_cancelled(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "past return", "c")
        await coordinator.cancel(id, by="ann")
        assert (await ended(coordinator, id)).result is Result.CANCELLED
        assert (undone, job(coordinator, id).attention) == ([], None)
