"""The end of the events: one request for all who ask meanwhile, and never an answer from before."""

import asyncio

import pytest

from app.errors import LogUnavailableError
from app.feed.end import EventsEnd
from app.log import Bounds


class Log:
    """Answers a request when it may, with how many there were."""

    def __init__(self):
        self.asked = 0
        self.may = asyncio.Semaphore(0)
        self.error = None

    async def bounds(self, *_):
        self.asked += 1
        answer = Bounds(0, self.asked)
        await self.may.acquire()
        if self.error:
            raise self.error
        return answer


async def start(end, count):
    asking = [asyncio.create_task(end.ask()) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return asking


async def test_those_who_ask_while_a_request_runs_share_the_next_one():
    log = Log()
    end = EventsEnd(log)
    first, later = await start(end, 100), await start(end, 100)
    assert log.asked == 1
    log.may.release()
    assert set(await asyncio.gather(*first)) == {1}
    log.may.release()
    assert set(await asyncio.gather(*later)) == {2}
    log.may.release()
    assert await end.ask() == 3


async def test_a_failure_is_that_of_all_who_asked_and_of_nobody_after_them():
    log = Log()
    end = EventsEnd(log)
    log.error = LogUnavailableError("Gone.")
    asking = await start(end, 2)
    log.may.release()
    for each in asking:
        with pytest.raises(LogUnavailableError):
            await each
    log.error = None
    log.may.release()
    assert await end.ask() == 2


async def test_who_leaves_takes_nothing_from_the_others():
    log = Log()
    end = EventsEnd(log)
    leaving, staying = await start(end, 2)
    leaving.cancel()
    log.may.release()
    assert await staying == 1
