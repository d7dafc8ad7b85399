"""The opt-in protocols on both engines: erasure, trimming, cursors, examination."""

import asyncio

import pytest

from app.errors import RecordGoneError
from app.log import (
    EVENTS,
    IMAGES,
    Bounds,
    CursorLog,
    ExaminableLog,
    Log,
    Position,
    Record,
    TrimmableLog,
)
from app.log.findings import is_wrong
from tests.support.engines import until_async


@pytest.mark.parametrize("protocol", [Log, TrimmableLog, CursorLog, ExaminableLog])
def test_both_engines_have_the_core_and_what_both_can_do(engine, protocol):
    assert isinstance(engine.new_log(), protocol)


class TestErasing:
    async def test_an_erased_record_is_gone_and_its_neighbours_are_not(self, real_engine, opened):
        log = await opened(real_engine)
        records = [Record(b"key-%d" % n, b"value-%d" % n, partition=0) for n in range(3)]
        positions = await log.append(IMAGES, records)
        await real_engine.erase(log, (await log.read(IMAGES, positions[1])).record)

        async def erased():
            await real_engine.pass_time(log)
            try:
                await log.read(IMAGES, positions[1])
            except RecordGoneError:
                return True
            await asyncio.sleep(0.5)
            return False

        await until_async(erased, timeout_seconds=60)
        assert (await log.read(IMAGES, positions[0])).record.value == b"value-0"
        assert (await log.read(IMAGES, positions[2])).record.value == b"value-2"


class TestTrimming:
    async def test_a_trimmed_record_is_gone_and_its_offset_is_not_used_again(
        self, real_engine, opened
    ):
        log = await opened(real_engine)
        positions = await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(4)])
        await log.trim(EVENTS, 0, 3)
        await log.trim(EVENTS, 0, 3)
        assert await log.bounds(EVENTS, 0) == Bounds(3, 4)
        for position in positions[:3]:
            with pytest.raises(RecordGoneError):
                await log.read(EVENTS, position)
        assert (await log.read(EVENTS, positions[3])).record.value == b"3"
        await log.trim(EVENTS, 0, 4)
        assert await log.append(EVENTS, [Record(b"k", b"next")]) == [Position(0, 4)]

    async def test_trimming_beyond_the_end_is_refused(self, real_engine, opened):
        log = await opened(real_engine)
        await log.append(EVENTS, [Record(b"k", b"v")])
        with pytest.raises(ValueError, match=r".+"):
            await log.trim(EVENTS, 0, 7)

    async def test_a_start_below_the_first_offset_is_gone(self, real_engine, opened):
        log = await opened(real_engine)
        await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(3)])
        await log.trim(EVENTS, 0, 2)
        with pytest.raises(RecordGoneError):
            await anext(log.tail(EVENTS, 0, 1))


class TestCursors:
    async def test_cursors_are_kept_by_name_across_a_restart(self, engine, opened):
        log = await opened(engine)
        assert await log.committed("exporter", IMAGES, 1) is None
        await log.commit("exporter", IMAGES, 1, 7)
        await log.commit("exporter", IMAGES, 1, 5)
        await log.commit("other", IMAGES, 1, 9)
        await log.stop()
        again = await opened(engine)
        assert await again.committed("exporter", IMAGES, 1) == 5
        assert await again.committed("other", IMAGES, 1) == 9
        assert await again.committed("exporter", IMAGES, 2) is None


class TestExamination:
    async def test_a_log_that_has_run_has_nothing_wrong_and_need_not_run(self, real_engine, opened):
        log = await opened(real_engine)
        await log.stop()
        found = await real_engine.new_log().examine()
        assert found
        assert not is_wrong(found)
