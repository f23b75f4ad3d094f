"""The chain of actions: each row's digest covers the row and the digest before it, so that none can be changed,
removed or moved without the rest showing it.

Numbers have no gap, and the last one is noted beside the table, so that rows that were cut off at the end are missed.
Who changes the rows, all that follow and the note alike can only be told by a digest that was noted elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, update

from interlock.model.records import ActionRecord
from interlock.store.statements import execute, execute_many
from interlock.store.tables import actions, actions_head

#: what the first action follows
FIRST = "0" * 64

_LAST = select(actions.c.number, actions.c.digest).where(
    actions.c.number == select(func.max(actions.c.number)).scalar_subquery()
)
_HEAD = select(actions_head.c.number, actions_head.c.digest)
_MAKE_HEAD = insert(actions_head).values(
    id=bindparam("head_id"), number=bindparam("to_number"), digest=bindparam("to_digest"), since=bindparam("to_since")
)
_MOVE_HEAD = update(actions_head).values(number=bindparam("to_number"), digest=bindparam("to_digest"))

#: an action's number and digest
Link = tuple[int, str]


def digest_of(number: int, action: ActionRecord, former: str) -> str:
    """SHA-256 in hexadecimal over the former action's digest and everything of this one."""
    content = [
        former, number, str(action.id), action.at, action.by, action.what, str(action.subject), action.correlation_id,
        action.reason, action.before_json, action.after_json,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def links(connection: Connection, added: Sequence[ActionRecord]) -> Iterator[Link]:
    """The numbers and digests of actions that are about to be written, within the writer's transaction; what was
    written before it is read there, so that a transaction that is rolled back leaves no gap."""
    number, former = _last(connection)
    for action in added:
        number += 1
        former = digest_of(number, action, former)
        yield number, former


def note_last(connection: Connection, last: Link) -> None:
    """Notes the last action beside the table."""
    values = {"to_number": last[0], "to_digest": last[1]}
    if execute(connection, _HEAD, {}):
        execute_many(connection, _MOVE_HEAD, [values])
    else:
        execute_many(connection, _MAKE_HEAD, [values | {"head_id": 1, "to_since": 0}])


def _last(connection: Connection) -> Link:
    """The last action, as far as a row or the note knows of one: where rows were removed the gap stays."""
    known = [*execute(connection, _LAST, {}), *execute(connection, _HEAD, {})]
    return max(((number, digest) for number, digest in known), default=(0, FIRST))
