"""A transfer into a log that fails now and then, or does not store what it is given."""

import random
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import IMAGES
from app.log.sqlite.log import SqliteLog
from app.reader.source import ReadingHalf
from app.reader.view import View
from app.records.signature import NO_SIGNATURES
from app.records.writer import ImageWriter
from app.transfer.copy import Copier
from app.transfer.transfer import Transfer
from tests.support.shelf import Shelf
from tests.support.transfers import CHUNK_BYTES, pictures


class Failing:
    """A log whose appends fail now and then, before or after they have worked."""

    def __init__(self, log):
        self._log = log
        self._order = random.Random(7)
        self.failures = 0

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def append(self, topic, records, deadline=None):
        outcome = self._order.random()
        if outcome < 0.1:
            self.failures += 1
            raise NotWrittenError("Provoked.")
        places = await self._log.append(topic, records, deadline)
        if outcome > 0.9:
            self.failures += 1
            raise OutcomeUnknownError("Provoked.", [], None)
        return places


class Lying:
    """A log that stores the first record of images otherwise than it was given."""

    def __init__(self, log, change):
        self._log = log
        self._change = change
        self.is_honest = False

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def append(self, topic, records, deadline=None):
        if topic == IMAGES and not self.is_honest:
            self.is_honest = True
            records = [self._change(records[0]), *records[1:]]
        return await self._log.append(topic, records, deadline)


def with_another_byte(record):
    value = bytearray(record.value)
    value[-1] ^= 1
    return replace(record, value=bytes(value))


def with_another_owner(record):
    return replace(record, headers=(*record.headers, ("imagegate-owner", b"key:1")))


class Transferring:
    """Two embedded logs, and transfers from the one into the other."""

    def __init__(self, source_log, log, source, target):
        self.shelf, self.log, self.target = Shelf(source_log), log, target
        self._source_log, self._source = source_log, source

    async def run(self, log):
        """Transfer everything by way of `log`; return the counts."""
        copier = Copier(self._source, log, ImageWriter(log), self.target)
        parts = self._source_log, self._source, log, self.target, copier
        transfer = Transfer(*parts, NO_SIGNATURES)
        await transfer.run()
        await self.target.filled()
        return transfer.counts

    async def moved(self):
        """The ids that the images in the target had, in their order."""
        listed = await self.target.catalog.newest(1_000)
        return [each.former_ids[0] for each in reversed(listed)]


@pytest.fixture
async def logs(tmp_path):
    async with AsyncExitStack() as stack:
        source_log, log = (SqliteLog(tmp_path / name) for name in ("source", "target"))
        for each in (source_log, log):
            await each.start()
            stack.push_async_callback(each.stop)
        source = View(ReadingHalf(source_log), tmp_path / "of-source", NO_SIGNATURES)
        target = View(ReadingHalf(log), tmp_path / "of-target", NO_SIGNATURES)
        for each in (source, target):
            await each.open()
            stack.push_async_callback(each.close)
        yield Transferring(source_log, log, source, target)


async def test_appends_that_fail_are_repeated_and_nothing_comes_twice(logs, monkeypatch):
    monkeypatch.setattr("app.transfer.transfer._RETRY_SECONDS", 0.001)
    failing = Failing(logs.log)
    ids = await logs.shelf.put_many(pictures(100), CHUNK_BYTES)
    for each in ids[::10]:
        await logs.shelf.delete(each)
    counts = await logs.run(failing)
    assert failing.failures > 10
    assert (counts.moved, counts.failed) == (90, 0)
    assert await logs.moved() == list(logs.shelf.stored)
    for each in ids[::10]:
        assert (await logs.target.catalog.known(each)).ownership.is_deleted


@pytest.mark.parametrize("change", [with_another_byte, with_another_owner])
async def test_what_the_log_does_not_return_as_it_was_written_is_not_announced(logs, change):
    [image_id] = await logs.shelf.put_many([b"picture"])
    lying = Lying(logs.log, change)
    with capture_logs() as said:
        counts = await logs.run(lying)
    assert (counts.moved, counts.failed, await logs.moved()) == (0, 1, [])
    [failed] = [line for line in said if line["event"] == "import_failed"]
    assert failed["image_id"] == image_id
    # The next time the log is honest.
    assert (await logs.run(lying)).moved == 1
    assert await logs.moved() == [image_id]
