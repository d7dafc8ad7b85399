"""Erasing and trimming in the embedded log: no byte is left in any file."""

import random
import re
import sqlite3
from contextlib import closing

import pytest

from app.errors import LogUnavailableError, RecordGoneError
from app.log import EVENTS, IMAGES, Bounds, ErasableLog, Position, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from app.log.sqlite.database import PAGE_BYTES
from tests.support.facts import until


def files_containing(folder, marks):
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {(name, mark) for name, data in contents.items() for mark in marks if mark in data}


class TestErasure:
    async def test_the_embedded_log_erases_and_kafka_does_not(self, open_log):
        assert isinstance(await open_log(), ErasableLog)
        assert not isinstance(KafkaLog(KafkaSettings()), ErasableLog)

    async def test_erased_bytes_are_in_no_file(self, open_log):
        log = await open_log()
        marks = [random.randbytes(16) for _ in range(6)]
        records = [
            Record(mark, mark * 2_000, (("h", mark.hex().encode()),), partition=0) for mark in marks
        ]
        positions = await log.append(IMAGES, records)
        searched = [form for mark in marks[:5] for form in (mark, mark.hex().encode())]
        assert files_containing(log.path.parent, searched)
        await log.erase(IMAGES, positions[:5])
        assert not files_containing(log.path.parent, searched)
        for position in positions[:5]:
            with pytest.raises(RecordGoneError):
                await log.read(IMAGES, position)
        assert (await log.read(IMAGES, positions[5])).record.value == marks[5] * 2_000

    async def test_no_copy_of_an_erased_record_is_left_where_pages_were_merged(self, open_log):
        """Trims empty pages beside records that are erased a little later, and looks each time."""
        log = await open_log(image_partitions=1)
        rng = random.Random(1)
        marks = [b"<%016x>" % rng.getrandbits(64) for _ in range(160)]
        await log.append(IMAGES, [Record(b"k" * 24, mark * 83) for mark in marks])
        removed, start = set(), 0
        while start < 150:
            start += rng.randrange(1, 6)
            await log.trim(IMAGES, 0, start)
            erased = [Position(0, n) for n in range(start, start + 10) if rng.random() < 0.3]
            await log.erase(IMAGES, erased)
            removed |= {*range(start), *(position.offset for position in erased)}
            data = b"".join(path.read_bytes() for path in log.path.parent.iterdir())
            found = set(re.findall(rb"<[0-9a-f]{16}>", data))
            assert found == {mark for n, mark in enumerate(marks) if n not in removed}

    async def test_all_but_a_page_of_each_erased_record_is_used_again(self, open_log):
        log = await open_log(image_partitions=1)
        records = [Record(b"k", random.randbytes(500_000)) for _ in range(10)]
        sizes = []
        for _ in range(4):
            await log.erase(IMAGES, await log.append(IMAGES, records))
            sizes.append(log.path.stat().st_size)
        assert sizes[3] - sizes[0] <= 3 * len(records) * PAGE_BYTES

    async def test_trimming_gives_back_all_but_a_bounded_number_of_pages(self, open_log):
        log = await open_log()
        sizes = []
        for _ in range(4):
            records = [Record(b"k", bytes(1_000)) for _ in range(8_000)]
            [*_, last] = await log.append(EVENTS, records)
            await log.trim(EVENTS, 0, last.offset + 1)
            sizes.append(log.path.stat().st_size)
        assert sizes[3] <= 1.1 * sizes[1]

    async def test_an_erasure_waits_for_another_programs_reader(self, open_log):
        log = await open_log(append_timeout_seconds=0.5)
        mark = random.randbytes(16)
        positions = await log.append(EVENTS, [Record(b"k", mark)])
        with closing(sqlite3.connect(log.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM log").fetchone()
            with pytest.raises(LogUnavailableError):
                await log.erase(EVENTS, positions)
            assert files_containing(log.path.parent, [mark])
        await until(lambda: not files_containing(log.path.parent, [mark]))

    async def test_trimming_twice_and_below_the_start_changes_nothing(self, open_log):
        log = await open_log()
        await log.append(EVENTS, [Record(b"k", b"v")] * 5)
        for before in (3, 3, 1):
            await log.trim(EVENTS, 0, before)
            assert await log.bounds(EVENTS, 0) == Bounds(3, 5)
