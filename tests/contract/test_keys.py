"""The topic of the keys on both engines."""

from app.log import IMAGES, KEYS, Bounds, Position, Record
from tests.support.engines import take


async def test_keys_are_appended_read_and_followed_in_one_partition(engine, opened):
    log = await opened(engine, erasure="shred")
    assert log.partitions(KEYS) == 1
    assert log.max_record_bytes(KEYS) > 1000
    assert await log.bounds(KEYS, 0) == Bounds(0, 0)
    records = [Record(b"key-%d" % n, b"wrapped", (("imagegate-version", b"6"),)) for n in range(3)]
    assert await log.append(KEYS, records) == [Position(0, n) for n in range(3)]
    # A tombstone under a key that is used already.
    assert await log.append(KEYS, [Record(b"key-1", None)]) == [Position(0, 3)]
    stored = (await log.read(KEYS, Position(0, 1))).record
    assert (stored.key, stored.value) == (b"key-1", b"wrapped")
    assert stored.headers == (("imagegate-version", b"6"),)
    assert (await log.read(KEYS, Position(0, 3))).record.value is None
    followed = await take(log, 4, KEYS)
    assert [(each.key, each.value) for each in followed] == [
        *((b"key-%d" % n, b"wrapped") for n in range(3)),
        (b"key-1", None),
    ]
    assert await log.bounds(KEYS, 0) == Bounds(0, 4)


async def test_keys_and_images_are_apart_and_keys_are_there_after_a_restart(engine, opened):
    log = await opened(engine, erasure="shred")
    [position] = await log.append(KEYS, [Record(b"key", b"wrapped")])
    await log.append(IMAGES, [Record(b"image", b"picture", partition=0)])
    await log.stop()
    again = await opened(engine, erasure="shred")
    assert (await again.read(KEYS, position)).record.value == b"wrapped"
    assert await again.bounds(KEYS, 0) == Bounds(0, 1)
