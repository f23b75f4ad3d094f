"""A database from a backup: what was open in it waits for a person, across restarts; what is new runs as ever."""

from uuid import UUID

import pytest

from interlock import NOTHING, Command, Coordinator, Decision, Plan, Refused, Result, Tx, part, sequence, signal
from interlock.coordinator.recovery import IS_OLD
from interlock.store.backups import restore
from tests.coordinator.support import WAIT_S, commands, events, job, opened, tasks, until_job
from tests.databases import Scratch

undone: list[str] = []


@pytest.fixture(autouse=True)
def _as_new() -> None:
    undone.clear()


class Begun(Command[None], name="begun"):
    """What is undone if nobody watches out."""

    def execute(self, db: Tx) -> Plan:
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        undone.append(str(self.command_type.name))
        return NOTHING


class Long(Command[None], name="long"):
    """Does something, and then waits for news."""

    def execute(self, db: Tx) -> Plan:
        return sequence(part(Begun()), part(signal("news"), timeout_s=60.0))


async def until_waiting(coordinator: Coordinator) -> UUID:
    """A job that waits for news."""
    id = (await coordinator.submit(Long())).id
    await until_job(coordinator, id, lambda _: any(task.wait_json for task in tasks(coordinator, id)))
    return id


@pytest.mark.hard_case(19)
@pytest.mark.parametrize("decision", [Decision.RETRY, Decision.FORCE_SUCCESS])
async def test_what_was_open_in_a_backup_waits_for_a_person_across_restarts(
    scratch: Scratch, decision: Decision
) -> None:
    async with opened(scratch, Begun, Long) as coordinator:
        id = await until_waiting(coordinator)
    assert restore(scratch.url, 1_000).open_flows == 1
    for _ in range(2):  # ending in good order does not let it go on either
        async with opened(scratch, Begun, Long) as coordinator:
            await until_job(coordinator, id, lambda row: row.attention == IS_OLD)
            await coordinator.signal("news")  # of today, while the wait is of before
            other = await until_waiting(coordinator)
            await coordinator.signal("news")
            assert (await coordinator.wait_ended(other, WAIT_S)).result is Result.SUCCEEDED
            assert (job(coordinator, id).attention, job(coordinator, id).ended_at) == (IS_OLD, None)
            part_id = commands(coordinator, id)[1].id
            with pytest.raises(Refused, match="decide about the whole of it first"):
                await coordinator.settle(id, Decision.SKIP, by="ann", reason="x", command_id=part_id)
            for force in (False, True):
                with pytest.raises(Refused, match="is from a backup, and nobody here knows what was done of it since"):
                    await coordinator.cancel(id, by="ann", force=force)
    async with opened(scratch, Begun, Long) as coordinator:
        await coordinator.settle(id, decision, by="ann", reason="nothing was done since", leave_tasks=True)
        ended = await coordinator.wait_ended(id, WAIT_S)
        assert (ended.result, undone) == (Result.SUCCEEDED, [])
        kinds = [event.kind for event in events(coordinator, id)]
        assert (kinds.count("flow_claimed"), kinds.count("attention_raised")) == (3, 1)
        assert job(coordinator, id).attention is None
        assert not [row for row in commands(coordinator, id) if row.result is Result.FAILED]
