"""What is waited for to its end, whatever is cancelled meanwhile."""

import asyncio
import threading

import pytest

from interlock.coordinator.closing import to_the_end


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancel_was_lost_where_what_was_waited_for_failed(fails: bool) -> None:
    """An engine whose janitor was cancelled while it asked a database that was gone waited for it for ever."""
    may_end, has_ended = threading.Event(), threading.Event()

    def use() -> None:
        may_end.wait()
        has_ended.set()
        if fails:
            raise RuntimeError("the database is gone")

    waiting = asyncio.ensure_future(to_the_end(asyncio.to_thread(use)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert has_ended.is_set()


async def test_without_a_cancel_it_is_told_how_it_ended() -> None:
    async def fail() -> None:
        raise RuntimeError("as it is")

    with pytest.raises(RuntimeError, match="as it is"):
        await to_the_end(fail())
    assert await to_the_end(asyncio.sleep(0, "value")) == "value"
