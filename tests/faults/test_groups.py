"""Members of groups are killed while they write images into files, and none is passed over."""

import asyncio
import hashlib
import json
import os
import random
import signal

import pytest

from tests.support.exporting import ended, export, exported, pictures_in
from tests.support.facts import until
from tests.support.kafka_logs import opened_log
from tests.support.shelf import Shelf

__all__ = ["export"]

pytestmark = pytest.mark.apache_kafka

# Every eleventh is deleted before it is read, and those at the end meanwhile.
IMAGES, LATE = 2_200, 20
CHUNK_BYTES = 16_384
SECONDS = 240


@pytest.fixture
async def log(kafka):
    async with opened_log(kafka) as log:
        yield log


@pytest.fixture
async def shelf(log):
    """2,000 images, a third of them in chunks, and those that are to go while they are read."""
    made, noise = Shelf(log), random.Random(17)
    sizes = [noise.choice([200, 900, 3 * CHUNK_BYTES + 7]) for _ in range(IMAGES)]
    ids = await made.put_many([noise.randbytes(size) for size in sizes], CHUNK_BYTES)
    for each in ids[::11]:
        await made.delete(each)
    assert len(made.stored) == 2_000
    return made


def written(folder):
    """The digests of the pictures of an export that may have been killed, by id."""
    found = {}
    for path in pictures_in(folder):
        found[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
        assert json.loads(path.with_suffix(".json").read_text("utf-8"))["id"] == path.stem
    return found


async def test_two_groups_and_a_killed_member_write_2000_images_and_skip_none(
    shelf, export, tmp_path
):
    there = {each: hashlib.sha256(data).hexdigest() for each, data in shelf.stored.items()}
    late = await shelf.put_many([b"%d" % number for number in range(LATE)])
    group = f"members-{os.urandom(4).hex()}"
    alone, killed, standby = (tmp_path / name for name in ("alone", "killed", "standby"))
    other = await export(out=alone)
    reading = await export("--group", group, out=killed)
    await until(lambda: len(pictures_in(killed)) > 200, SECONDS)
    waiting = await export("--group", group, out=standby)
    for each in late:
        await shelf.delete(each)
    await until(lambda: len(pictures_in(killed)) > 500, SECONDS)
    reading.kill()
    assert await reading.wait() == -signal.SIGKILL
    before = written(killed)
    assert len(before) < len(there)
    for status, output, errors in await asyncio.gather(
        ended(waiting, SECONDS), ended(other, SECONDS)
    ):
        assert (status, "could not be read" in output) == (0, False), errors
    after, of_other = written(standby), written(alone)
    assert exported(alone).keys() == of_other.keys()
    assert after
    for found in (before | after, of_other):
        assert {each: digest for each, digest in found.items() if each not in late} == there
    # A handful is written twice: what was not committed yet when the member was killed.
    assert len(before.keys() & after.keys()) <= 20
