"""The erasure of an image on a real broker, down to the files of its segments."""

import asyncio
import base64

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from app.changes.key_sweep import KeySweep
from app.errors import RecordGoneError
from app.log import EVENTS, IMAGES, KEYS, Position
from app.records.address import Address
from app.records.image import head_part, parse_head
from app.records.key_record import cookie_of
from app.records.seal import sealing_of
from app.records.signature import NO_SIGNATURES
from app.sealing.envelope import BrokenSealError
from tests.support import plain
from tests.support.compaction import QUICK, stored
from tests.support.in_process import in_process, problem
from tests.support.kafka_logs import new_prefix
from tests.support.sealing import (
    K1,
    K2,
    LARGE,
    NAME,
    SMALL,
    all_records,
    check_out,
    sealing,
    upload,
)

pytestmark = pytest.mark.apache_kafka

SECONDS = 60


def opens(record, topic, key):
    """Tell whether a data key opens what is sealed in a record."""
    try:
        sealing_of(topic, record).open_fields(key)
    except BrokenSealError:
        return False
    return True


def opens_value(record, key):
    """Tell whether a data key opens the part of an image in a head."""
    head = parse_head(record)
    try:
        head.seal(key).opened(0, head_part(record, head))
    except BrokenSealError:
        return False
    return True


def files_of(kafka, prefix):
    """All bytes that the broker has of the topics with a prefix."""
    folders = [each.name for each in (kafka.broker.data_dir / "logs").glob(f"{prefix}*")]
    return b"".join(stored(kafka.broker, *each.rsplit("-", 1)) for each in folders)


async def test_after_a_deletion_the_key_is_in_no_file_and_nothing_opens_picture_or_name(
    kafka, tmp_path
):
    if kafka.broker is None:
        pytest.skip("the files of the broker at TEST_KAFKA are out of reach")
    prefix = new_prefix()
    section = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": prefix,
        "partitions": 3,
        "erasure": "shred",
    }
    async with in_process(tmp_path / "data", kafka=section, **sealing(k2=K2, k1=K1)) as client:
        log = client.gateway.log
        await plain.alter(kafka, f"{prefix}{KEYS}", **QUICK)
        # A gateway looks at its topics every minute.
        log._topics.look_soon()
        kept = await upload(client, SMALL)
        large, small = await upload(client, LARGE, "original"), await upload(client, SMALL)
        keys = [record for _, record in await all_records(log, [KEYS])]
        kept_key, *erased = [record.value for record in keys]
        before = files_of(kafka, prefix)
        assert all(value in before for value in (kept_key, *erased))
        for image in (large, small):
            assert (await client.delete(image["url"])).status_code == 204
        sweep = KeySweep(
            *(log, client.gateway.catalog, client.gateway.feed, NO_SIGNATURES), tick_seconds=0.2
        )
        async with asyncio.timeout(SECONDS):
            while any(value in files_of(kafka, prefix) for value in erased):
                await sweep.sweep()
                await asyncio.sleep(0.1)
        for offset in (1, 2):
            with pytest.raises(RecordGoneError):
                await log.read(KEYS, Position(0, offset))

        # What is left in every topic, against every key that is left, and every sealing key.
        everything = await all_records(log)
        left = [record.value for topic, record in everything if topic == KEYS and record.value]
        assert left == [kept_key]
        plain_keys = [aes_key_unwrap(K2, base64.b64decode(left[0].partition(b":")[2])), K1, K2]
        written = files_of(kafka, prefix)
        for secret in (NAME.encode(), NAME.partition("-")[2][:9].encode(), LARGE[5000:5032]):
            assert secret not in written
        sealed = [each for each in everything if each[1].header("imagegate-key")]
        assert len(sealed) == 6
        names = {kept["id"], large["id"], small["id"]}
        for topic, record in sealed:
            image_id = _image_of(topic, record)
            names.discard(image_id)
            found = [opens(record, topic, key) for key in plain_keys]
            assert found == [image_id == kept["id"], False, False]
            if topic == IMAGES:
                found = [opens_value(record, key) for key in plain_keys]
                assert found == [image_id == kept["id"], False, False]
        assert not names
        await check_out(client, kept)
        problem(await client.get(large["url"]), 410, "image-gone")
    # A gateway that never saw them, and reads everything from the beginning.
    async with in_process(tmp_path / "later", kafka=section, **sealing(k2=K2, k1=K1)) as client:
        await check_out(client, kept)
        for image in (large, small):
            problem(await client.get(image["url"]), 410, "image-gone")
        assert (await client.get("/images")).json()["images"] == [kept]


def _image_of(topic, record):
    if topic == EVENTS:
        return record.key.decode()
    return str(Address(record.position, cookie_of(record)))
