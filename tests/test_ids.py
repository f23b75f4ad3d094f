"""Ids: ordered, of version 7, and never the same in a parent and its forked child."""

import os
from itertools import pairwise
from uuid import RFC_4122, UUID

from interlock.ids import new_id


def test_ids_are_of_version_7_and_only_grow() -> None:
    ids = [new_id() for _ in range(5_000)]
    assert all(id.version == 7 and id.variant == RFC_4122 for id in ids)
    assert all(one < other for one, other in pairwise(ids))


def test_a_forked_child_does_not_repeat_its_parents_randomness() -> None:
    new_id()  # so that there is some left over
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    of_child, of_parent = UUID(bytes=os.read(reading, 16)), new_id()
    os.close(reading)
    os.close(writing)
    assert of_child.int & (1 << 62) - 1 != of_parent.int & (1 << 62) - 1
