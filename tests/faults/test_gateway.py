"""The gateway itself: killed in the middle of uploads, or with a clock that jumps."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.log import Position, StoredRecord
from app.records import image as records
from dev.kafka.ports import free_port
from tests.support import plain
from tests.support.checker import SETTINGS
from tests.support.gateway_process import on_kafka

pytestmark = pytest.mark.apache_kafka

# A gateway whose clock is a year ahead at first; then every half second a day further, two years
# back, or where it was.
JUMPING_CLOCK = """
import datetime, itertools, sys, threading, time_machine
from app.cli.main import main
now = datetime.datetime.now(datetime.timezone.utc)
year = datetime.timedelta(days=365)
clock = time_machine.travel(now + year).start()
def jump():
    for step in itertools.cycle([datetime.timedelta(days=1), -2 * year, 2 * year]):
        pause.wait(0.5)
        clock.shift(step)
pause = threading.Event()
threading.Thread(target=jump, daemon=True).start()
sys.exit(main())
"""


async def test_gateway_killed_in_the_middle_of_uploads(new_broker, new_gateway, checker):
    broker, port = new_broker(), str(free_port())
    settings = on_kafka(broker) | SETTINGS
    gateway = new_gateway("--port", port, **settings)
    async with checker(gateway) as clients:
        clients.may_break_off = (httpx.TransportError,)
        await clients.more_stored()
        for _ in range(3):
            await asyncio.to_thread(gateway.kill)
            await asyncio.to_thread(gateway.start, "--port", port)
            await clients.more_stored()
        await clients.finish()
    await expect_heads_with_all_their_chunks(broker, settings)


async def test_clock_a_year_off_and_jumping(new_broker, new_gateway, checker):
    program = [sys.executable, "-c", JUMPING_CLOCK]
    gateway = new_gateway(program=program, **on_kafka(new_broker()) | SETTINGS)
    async with checker(gateway) as clients:
        await clients.more_stored(200)
        await clients.finish()
    assert clients.counts.statuses.keys() == {201}
    year = datetime.now(UTC).year
    assert all(f'"timestamp": "{each}-' in "".join(gateway.output) for each in (year - 1, year + 1))
    # The times of images are the broker's.
    in_order = sorted(clients.stored.values(), key=lambda image: image["sequence"])
    stored = [datetime.fromisoformat(image["created_at"]) for image in in_order]
    assert max(stored) < datetime.now(UTC) + timedelta(days=1)
    assert sorted(stored) == stored


async def expect_heads_with_all_their_chunks(broker, settings):
    topic = f"{settings['IMAGEGATE_KAFKA__TOPIC_PREFIX']}images"
    found = await plain.read(broker, topic, settings["IMAGEGATE_KAFKA__PARTITIONS"])
    chunked = 0
    for record in found.values():
        where = Position(record.partition, record.offset)
        stored = StoredRecord(where, record.key, record.value, record.headers, record.timestamp)
        if stored.header("imagegate-chunks"):
            chunks = records.parse_head(stored).chunks
            assert all((chunk.partition, chunk.offset) in found for chunk in chunks)
            chunked += 1
    assert chunked
