"""Facts to test with: events and records of images that nobody uploaded."""

import asyncio
import dataclasses
import json
import signal
from contextlib import contextmanager

from app.events.event import VERSION, ImageDeleted, ImageStored, encode
from app.events.idempotency import Idempotency
from app.events.move import Move
from app.imaging.info import ImageInfo
from app.log import Position, Record, StoredRecord
from app.records.address import Address
from app.records.claim import Claim

TOKEN = "0a" * 32
INFO = ImageInfo(
    content_type="image/png",
    content_length=4321,
    digest="ab" * 32,
    width=640,
    height=480,
    frame_count=1,
    filename="Küste.png",
    profile="balanced",
    codec="original",
    kept=True,
    received_bytes=5000,
    received_digest="cd" * 32,
    stored_bytes=4321,
)


def info(**changes):
    if "content_length" in changes and not changes.get("content_encoding"):
        changes = {"stored_bytes": changes["content_length"]} | changes
    return dataclasses.replace(INFO, **changes)


def image_id(number=1):
    """The id of the picture at offset `number` of partition 0; its cookie is that number too."""
    return str(Address(Position(0, number), number.to_bytes(12, "big")))


def stored(number=1, **changes):
    return ImageStored(image_id(number), info(**changes))


def claimed(number=1, link="A" * 16, uses=1, expires_at=2_000_000_000):
    """The event of an image that was uploaded by a link."""
    return dataclasses.replace(stored(number), claim=Claim(link, uses, expires_at))


def keyed(number=1, token=TOKEN, fingerprint="ef" * 32, **changes):
    """The event of an image that was uploaded with an idempotency key."""
    return dataclasses.replace(
        stored(number, **changes), idempotency=Idempotency(token, fingerprint)
    )


def moved(number, *former, created_at_ms=1_600_000_000_123, **changes):
    """The event of an image that had the ids of these numbers in other logs."""
    move = Move(tuple(image_id(each) for each in former), created_at_ms)
    return dataclasses.replace(stored(number, **changes), move=move)


def deleted(number=1):
    return ImageDeleted(image_id(number))


def envelope(**changes):
    """An event as JSON; a change to None removes the attribute."""
    changed = json.loads(encode(stored()).value) | changes
    return {name: value for name, value in changed.items() if value is not None}


# The least that can stop a reader: a type that nobody knows, without data, of another version.
NEWER = Record(
    image_id(1).encode(),
    json.dumps(envelope(type="image.sealed", imagegateversion=VERSION + 1, data=None)).encode(),
)
# A fact of a later release at a version that is known.
UNKNOWN = Record(
    image_id(1).encode(), json.dumps(envelope(type="image.tagged", data={"tags": ["a"]})).encode()
)


def as_stored(record, offset=0, partition=0, timestamp_ms=1_700_000_000_000):
    """The record as a log returns it after the append."""
    value = None if record.value is None else bytes(record.value)
    position = Position(partition, offset)
    return StoredRecord(position, record.key, value, record.headers, timestamp_ms)


async def until(condition, timeout_seconds=10):
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextmanager
def watchdog(seconds):
    """Fail instead of hanging where a mistake would keep the event loop from ever running."""

    def bark(*_):
        raise AssertionError(f"the event loop was stuck for {seconds} seconds")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
