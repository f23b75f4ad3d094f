"""What may be done to the chain of actions, or beside it, and all that must then be said."""

from tests.invariants.healthy import BAD, GOOD, LOST, OPEN, POLLED, RUNNING

BROKEN = "it or the one before it is not as it was written"


def _line(number: int, job: object) -> str:
    return f"action {number} (job.submit of job:{job} by admin): {BROKEN}"


PLANTED_ACTIONS: list[tuple[str, list[tuple[int, str]]]] = [
    # a row is changed
    ("UPDATE actions SET reason = 'another' WHERE number = 2", [(24, _line(2, BAD))]),
    # a row and its digest are changed
    ("UPDATE actions SET digest = 'forged' WHERE number = 1", [(24, _line(1, GOOD)), (24, _line(2, BAD))]),
    # two rows are swapped
    (
        "UPDATE actions SET number = 9 WHERE number = 1; UPDATE actions SET number = 1 WHERE number = 2; "
        "UPDATE actions SET number = 2 WHERE number = 9",
        [(24, _line(1, BAD)), (24, _line(2, GOOD)), (24, _line(3, OPEN))],
    ),
    # a row is removed from the middle, and what it told of shows too
    (
        "DELETE FROM actions WHERE number = 2",
        [
            (24, "actions are missing: after number 1 comes 3"),
            (24, f"job {BAD} was submitted by admin, of which no action tells"),
        ],
    ),
    # the first is removed
    (
        "DELETE FROM actions WHERE number = 1",
        [
            (24, "actions are missing: after number 0 comes 2"),
            (24, f"job {GOOD} was submitted by admin, of which no action tells"),
        ],
    ),
    # the end is cut off
    (
        "DELETE FROM actions WHERE number = 3",
        [
            (24, "the last action is number 2, but 3 were written"),
            (24, f"job {OPEN} was submitted by admin, of which no action tells"),
        ],
    ),
    # the note of the last one is changed, or gone
    ("UPDATE actions_head SET digest = 'forged'", [(24, "the last action, number 3, is not the one that was written")]),
    ("DELETE FROM actions_head", [(24, "the last action is number 3, but 0 were written")]),
    # what people did stands in rows, and no action tells of it
    (
        f"UPDATE audit_log SET \"user\" = 'eve' WHERE seq = 2 AND flow_id = x'{GOOD.hex}'",
        [(24, f"event 2 of job {GOOD} (job_ended) names eve, of whom no action tells")],
    ),
    (
        f"UPDATE command_entities SET forced_by = 'eve' WHERE id = x'{GOOD.hex}'",
        [(24, f"command_entities {GOOD}: forced_by is eve, and no action tells of it")],
    ),
    (
        f"UPDATE command_entities SET skipped_by = 'admin' WHERE id = x'{RUNNING.hex}'",
        [(24, f"command_entities {RUNNING}: skipped_by is admin, and no action tells of it")],
    ),
    (
        f"UPDATE async_tasks SET stopped_by = 'eve' WHERE id = x'{POLLED.hex}'",
        [(24, f"async_tasks {POLLED}: stopped_by is eve, and no action tells of it")],
    ),
    (
        f"UPDATE job SET paused_by = 'eve' WHERE id = x'{OPEN.hex}'",
        [(24, f"job {OPEN}: paused_by is eve, and no action tells of it")],
    ),
    (
        f"DELETE FROM entity_locks WHERE flow_id = x'{BAD.hex}'; "
        f"UPDATE leftovers SET cleared_by = 'eve', cleared_at = 9 WHERE id = x'{LOST.hex}'",
        [(24, f"leftovers {LOST}: cleared_by is eve, and no action tells of it")],
    ),
]
