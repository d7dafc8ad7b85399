"""Images that are published together: their order, their shared appends, and each one's outcome."""

import asyncio

import pytest

from app.errors import NotWrittenError, OutcomeUnknownError
from app.ingest.convoy import Convoy
from app.log import EVENTS, IMAGES, Position, Record


class Appends:
    """Appends that wait until they may end, each as a test says."""

    def __init__(self):
        self.groups = []
        self.ends = []

    async def __call__(self, topic, records, deadline):
        self.groups.append((topic, [each.key for each in records], deadline))
        end = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        if error := await end:
            raise error
        return [Position(0, int(each.key)) for each in records]


@pytest.fixture
def appends():
    return Appends()


def record(number):
    return Record(b"%d" % number, b"v")


async def begin(convoy, numbers, topic=IMAGES):
    """Start an append for each number; the first is under way, the others wait for its end."""
    tasks = []
    for number in numbers:
        append = convoy.place().append(topic, [record(number)], float(number))
        tasks.append(asyncio.create_task(append))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


async def test_records_gather_while_an_append_is_under_way_and_share_the_next(appends):
    tasks = await begin(Convoy(appends), (1, 3, 2))
    assert appends.groups == [(IMAGES, [b"1"], 1.0)]
    appends.ends[0].set_result(None)
    await tasks[0]
    await asyncio.sleep(0)
    # By the latest deadline, so that none is given up for another's sake.
    assert appends.groups[1:] == [(IMAGES, [b"3", b"2"], 3.0)]
    appends.ends[1].set_result(None)
    assert await asyncio.gather(*tasks) == [[Position(0, number)] for number in (1, 3, 2)]


async def test_topics_do_not_wait_for_each_other(appends):
    convoy = Convoy(appends)
    tasks = await begin(convoy, (1,)) + await begin(convoy, (2,), EVENTS)
    assert [topic for topic, _, _ in appends.groups] == [IMAGES, EVENTS]
    for end in appends.ends:
        end.set_result(None)
    await asyncio.gather(*tasks)


async def test_of_an_append_that_fails_in_part_each_has_the_outcome_of_its_own(appends):
    tasks = await begin(Convoy(appends), (0, 1, 2, 3))
    appends.ends[0].set_result(None)
    await tasks[0]
    await asyncio.sleep(0)
    settled = asyncio.get_running_loop().create_future()
    lost = OutcomeUnknownError("Lost.")
    outcomes = (Position(0, 1), NotWrittenError("Refused."), lost)
    appends.ends[1].set_result(OutcomeUnknownError("In part.", outcomes, settled))
    _, stored, refused, unknown = await asyncio.gather(*tasks, return_exceptions=True)
    assert stored == [Position(0, 1)]
    assert isinstance(refused, NotWrittenError)
    # Nobody holds what was refused.
    assert refused.settled is None
    assert isinstance(unknown, OutcomeUnknownError)
    assert unknown.settled is settled


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotWrittenError("Refused."), NotWrittenError),
        (OutcomeUnknownError("Without outcomes."), OutcomeUnknownError),
        (ZeroDivisionError("a mistake"), RuntimeError),
    ],
)
async def test_an_append_that_fails_whole_fails_all_and_not_the_next(appends, error, expected):
    convoy = Convoy(appends)
    tasks = await begin(convoy, (0, 1))
    appends.ends[0].set_result(error)
    [failed] = await asyncio.gather(tasks[0], return_exceptions=True)
    assert type(failed) is expected
    await asyncio.sleep(0)
    appends.ends[1].set_result(None)
    assert await tasks[1] == [Position(0, 1)]


async def test_one_that_is_given_up_leaves_the_others(appends):
    tasks = await begin(Convoy(appends), (0, 1, 2))
    tasks[1].cancel()
    appends.ends[0].set_result(None)
    await tasks[0]
    await asyncio.sleep(0)
    appends.ends[1].set_result(None)
    assert await tasks[2] == [Position(0, 2)]


async def test_an_image_has_its_turn_once_the_one_before_is_handed_over_or_has_failed(appends):
    convoy = Convoy(appends)
    first, second, third = convoy.place(), convoy.place(), convoy.place()
    await first.turn()
    turns = [asyncio.create_task(each.turn()) for each in (second, third)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in turns)
    appended = asyncio.create_task(first.append(IMAGES, [record(1)], 1.0))
    await turns[0]
    assert not turns[1].done()
    second.leave()
    await turns[1]
    appends.ends[0].set_result(None)
    await appended
