"""The reader: images out of Kafka for any program, without a gateway."""

import asyncio
import contextlib
import hashlib
import io
import os
import random
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from app.events.event import SigningBegan, encode
from app.log import EVENTS, IMAGES, Record
from app.records.claim import Claim
from app.records.value import ValueEncoding
from imagegate import (
    ConfigurationError,
    DigestMismatchError,
    ImageReader,
    NewerVersionError,
    TurnLostError,
)
from tests.support import images as pictures
from tests.support.facts import NEWER, stored, until
from tests.support.kafka_logs import opened_log
from tests.support.reading_process import ReadingProcess
from tests.support.shelf import Shelf
from tests.support.signing import K1, OURS, keys

pytestmark = pytest.mark.kafka

PAGE = (Path(__file__).parents[2] / "docs/reader.md").read_text("utf-8")
CHUNK_BYTES = 16_384
SESSION_SECONDS = 6.0
# Seconds since 1970, in the year 2096.
FAR_AHEAD = 4_000_000_000
# `make faults` has the time for more; one of eleven is deleted.
STORED = 2_200 if os.environ.get("FAULT_ROUNDS") else 550


@pytest.fixture
def shelf(log):
    return Shelf(log)


@pytest.fixture
def options(kafka, log):
    return of(kafka, log)


def of(kafka, log, group="readers"):
    prefix = log._topics.names[EVENTS].removesuffix(EVENTS)
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": prefix,
        "group_id": f"{prefix}{group}",
        "session_timeout_seconds": SESSION_SECONDS,
    }


async def read(options, **more):
    """Read all that there is; return the bytes by id, in order."""
    async with ImageReader(**options | {"follow": False} | more) as images:
        return {image.id: await image.bytes() async for image in images}


async def after(images):
    """Return the next image; one that does not come is a failure, and not for ever."""
    return await asyncio.wait_for(anext(images), 30)


async def some(shelf, count=3, **changes):
    return [await shelf.put(b"picture %d" % number, **changes) for number in range(count)]


class TestWhatAppears:
    async def test_each_image_comes_once_in_order_with_its_facts_and_bytes(self, shelf, options):
        for number in range(5):
            await shelf.put(b"picture %d" % number, owner=f"key:{number}")
        async with ImageReader(**options, follow=False) as images:
            found = [(image, await image.bytes()) async for image in images]
        assert {image.id: data for image, data in found} == shelf.stored
        assert [image.id for image, _ in found] == list(shelf.stored)
        assert [image.sequence for image, _ in found] == list(range(5))
        assert [image.owner for image, _ in found] == [f"key:{number}" for number in range(5)]
        first = found[0][0]
        assert abs(first.created_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert first.digest == hashlib.sha256(b"picture 0").hexdigest()
        assert first.facts["filename"] == first.filename == "Küste.png"
        assert first.facts["id"] == first.id

    async def test_those_of_one_source_come_alone_and_the_place_is_behind_the_others(
        self, shelf, options
    ):
        door = [await shelf.put(b"1", source="door")]
        await some(shelf, source="gate")
        async with ImageReader(**options, source=" door", follow=False) as images:
            assert [(image.id, image.source) async for image in images] == [(door[0], "door")]
        await some(shelf, source="gate")
        door.append(await shelf.put(b"2", source="door"))
        assert [*await read(options, source="door")] == door[1:]
        others = options | {"group_id": f"{options['group_id']}-others"}
        assert [*await read(others)] == [*shelf.stored]
        with pytest.raises(ConfigurationError, match="source: should be 1 to 64 characters"):
            ImageReader(**options, source="a" * 65)

    async def test_chunks_are_joined_and_come_in_pieces_as_well(self, shelf, options):
        data = random.Random(1).randbytes(3 * CHUNK_BYTES + 5)
        await shelf.put(data, CHUNK_BYTES)
        async with ImageReader(**options, follow=False) as images:
            async for image in images:
                assert [len(piece) async for piece in image.chunks()] == [CHUNK_BYTES] * 3 + [5]
                assert await image.bytes() == data

    async def test_base64_is_undone_beside_images_as_they_are(self, shelf, options):
        data = random.Random(2).randbytes(2 * CHUNK_BYTES + 1)
        for encoding in ValueEncoding:
            await shelf.put(b"small", encoding=encoding)
            await shelf.put(data, CHUNK_BYTES, encoding=encoding)
        assert await read(options) == shelf.stored
        assert len(shelf.stored) == 4

    async def test_deleted_images_copies_and_strangers_records_do_not_appear(self, shelf, options):
        link = Claim("A" * 16, 1, FAR_AHEAD)
        claimed = await shelf.put(b"by a link", claim=link)
        refused = await shelf.put(b"by a link that was used", claim=link)
        gone = await shelf.put(b"deleted later")
        twice = await shelf.put_silently(b"announced twice")
        for _ in range(2):
            await shelf.announce(twice)
        early = await shelf.put_silently(b"deleted before it is announced")
        await shelf.delete(early.image_id)
        await shelf.announce(early)
        silent = await shelf.put_silently(b"never announced")
        await shelf.log.append(EVENTS, [Record(b"x", b"no event"), encode(stored(7))])
        await shelf.log.append(IMAGES, [Record(b"x", b"no image")])
        last = await shelf.put(b"last")
        await shelf.delete(gone)
        found = await read(options)
        assert [*found] == [claimed, twice.image_id, last]
        assert not {refused, silent.image_id} & found.keys()

    async def test_an_image_that_is_deleted_while_another_is_handled_does_not_appear(
        self, shelf, options
    ):
        first, second, third = await some(shelf)
        seen = []
        async with ImageReader(**options, follow=False) as images:
            async for image in images:
                seen.append(image.id)
                if image.id == first:
                    await shelf.delete(second)
        assert seen == [first, third]

    async def test_what_is_not_signed_does_not_appear_where_there_are_keys(self, shelf, options):
        unsigned = await shelf.put_silently(b"a stranger's")
        signed = await shelf.put_silently(b"a gateway's")
        ends = [(await shelf.log.bounds(IMAGES, each)).end for each in range(2)]
        events = [OURS.sign(EVENTS, encode(each)) for each in (SigningBegan(tuple(ends)), signed)]
        await shelf.log.append(EVENTS, [*events, encode(unsigned)])
        assert [*await read(options, signing_keys=keys(k1=K1))] == [signed.image_id]
        both = await read(options | {"group_id": options["group_id"] + "-without"})
        assert {*both} == {signed.image_id, unsigned.image_id}

    async def test_bytes_of_another_digest_are_an_error_after_their_last_piece(
        self, shelf, options
    ):
        await shelf.put(b"picture", digest="ab" * 32)
        async with ImageReader(**options, follow=False) as images:
            image = await after(images)
            pieces = image.chunks()
            assert await anext(pieces) == b"picture"
            with pytest.raises(DigestMismatchError):
                await anext(pieces)
            with pytest.raises(DigestMismatchError):
                await image.bytes()

    async def test_an_event_of_a_newer_version_ends_reading_behind_what_is_before_it(
        self, shelf, options
    ):
        first = await shelf.put(b"before")
        await shelf.log.append(EVENTS, [NEWER])
        await shelf.put(b"behind")
        async with ImageReader(**options) as images:
            assert (await after(images)).id == first
            with pytest.raises(NewerVersionError):
                await after(images)

    async def test_images_of_a_gateway_that_has_stopped_are_read_as_it_served_them(
        self, new_gateway, topics, kafka, prefix
    ):
        gateway = new_gateway(**topics)
        large = pictures.png(pictures.photo((720, 640), noise=255), compress_level=1, private=False)
        with gateway.client() as client:
            uploads = [
                (large, "original"),
                (pictures.jpeg(pictures.photo((640, 480), noise=8)), "archive"),
                (pictures.png(pictures.photo((64, 48))), "balanced"),
            ]
            sent = [
                client.post(f"/images?profile={profile}", content=data).json()
                for data, profile in uploads
            ]
            served = {image["id"]: client.get(image["url"]).content for image in sent}
        assert gateway.terminate() == 0
        found = {}
        options = {"bootstrap_servers": kafka.bootstrap_servers, "topic_prefix": prefix}
        async with ImageReader(**options, group_id=prefix, follow=False) as images:
            async for image in images:
                found[image.id] = await image.bytes()
                opened = await image.open()
                assert opened.size == (image.width, image.height)
                with Image.open(io.BytesIO(served[image.id])) as expected:
                    assert opened.tobytes() == expected.tobytes()
        assert found == served


class TestTheStart:
    async def test_a_new_group_begins_where_it_is_told(self, shelf, options):
        ids = await some(shelf, 4)
        between = datetime.now(UTC) + timedelta(milliseconds=1)
        await until(lambda: datetime.now(UTC) > between + timedelta(milliseconds=1))
        later = await shelf.put(b"later")
        for number, (start, expected) in enumerate(
            [
                ("earliest", [*ids, later]),
                (2, [*ids[2:], later]),
                (99, []),
                (between, [later]),
                (datetime.now(UTC) + timedelta(days=1), []),
                ("latest", []),
            ]
        ):
            group = {"group_id": f"{options['group_id']}-{number}"}
            assert [*await read(options | group, start=start)] == expected, start

    async def test_a_group_that_began_at_the_end_passes_over_nothing_after_a_stop(
        self, shelf, options
    ):
        await some(shelf, 2)
        assert await read(options, start="latest") == {}
        newer = await shelf.put(b"while nobody reads")
        assert [*await read(options, start="latest")] == [newer]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"start": "now"},
            {"start": -1},
            {"start": True},
            {"start": datetime(2026, 1, 1)},  # noqa: DTZ001 - the mistake
            {"shard": (2, 2)},
            {"shard": (-1, 2)},
            {"group_id": ""},
            {"bootstrap_servers": "nowhere"},
            {"partitions": 3},
            {"security_protocol": "SASL_SSL"},
        ],
        ids=str,
    )
    async def test_options_that_are_not_allowed_are_refused_at_once(self, wrong):
        good = {"bootstrap_servers": "127.0.0.1:9", "group_id": "g"}
        ImageReader(**good)
        with pytest.raises(ConfigurationError):
            ImageReader(**good | wrong)

    async def test_the_environment_of_a_gateway_says_how_to_reach_the_log(
        self, shelf, options, monkeypatch
    ):
        await some(shelf)
        monkeypatch.setenv("IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS", options["bootstrap_servers"])
        monkeypatch.setenv("IMAGEGATE_KAFKA__TOPIC_PREFIX", options["topic_prefix"])
        group = {"group_id": options["group_id"]}
        async with ImageReader.from_settings(**group, follow=False) as images:
            assert [image.id async for image in images] == list(shelf.stored)

    async def test_topics_that_are_missing_are_named_and_not_created(self, kafka, options, log):
        reader = ImageReader(**options | {"topic_prefix": "absent-"})
        with pytest.raises(ConfigurationError, match="absent-image-events"):
            await reader.__aenter__()

    async def test_what_is_known_of_the_log_stays_in_a_folder(self, shelf, options, tmp_path):
        ids = await some(shelf)
        assert [*await read(options, state_dir=tmp_path / "state")] == ids
        assert (tmp_path / "state/catalog.db").exists()
        newer = await shelf.put(b"newer")
        assert [*await read(options, state_dir=tmp_path / "state")] == [newer]


class TestCommits:
    async def test_the_image_that_was_not_handled_comes_again_and_those_before_it_do_not(
        self, shelf, options
    ):
        ids = await some(shelf)
        async with ImageReader(**options) as images:
            assert (await after(images)).id == ids[0]
            assert (await after(images)).id == ids[1]
        assert [*await read(options)] == ids[1:]
        assert [*await read(options)] == []

    async def test_without_auto_commit_only_what_is_committed_was_handled(self, shelf, options):
        ids = await some(shelf)
        explicit = options | {"auto_commit": False}
        assert [*await read(explicit)] == ids
        async with ImageReader(**explicit) as images:
            assert (await after(images)).id == ids[0]
            await images.commit()
            assert (await after(images)).id == ids[1]
        assert [*await read(explicit)] == ids[1:]

    async def test_what_is_passed_over_is_committed_as_well(self, shelf, options, kafka):
        ids = await some(shelf)
        for each in ids:
            await shelf.delete(each)
        assert await read(options) == {}
        assert await shelf.log.committed(options["group_id"], EVENTS, 0) == 6

    async def test_a_log_that_took_the_place_of_another_is_read_from_its_first_image(
        self, kafka, options, shelf, log
    ):
        await some(shelf, 4)
        assert len(await read(options)) == 4
        async with opened_log(kafka) as other:
            new = Shelf(other)
            await some(new, 6)
            # The group of the first log, moved to the other one, as if it had the same name.
            theirs = of(kafka, other) | {"group_id": options["group_id"]}
            async with ImageReader(**options) as images:
                mark = await images._member.committed()
            async with ImageReader(**theirs, start="latest") as images:
                turn = await images._member.await_turn()
                await images._member.commit(turn, *mark)
            assert [*await read(theirs)] == list(new.stored)


class TestGroups:
    async def test_the_member_that_has_the_turn_keeps_it_while_others_join(self, shelf, options):
        await some(shelf, 2)
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(ImageReader(**options))
            assert (await after(first)).sequence == 0
            others = [await stack.enter_async_context(ImageReader(**options)) for _ in range(3)]
            waiting = [asyncio.create_task(anext(each)) for each in others]
            await until(lambda: all(each._member._coordinator.generation > 0 for each in others))
            assert (await after(first)).sequence == 1
            await shelf.put(b"another")
            assert (await after(first)).sequence == 2
            assert not any(each.done() for each in waiting)
            for each in waiting:
                each.cancel()
            await asyncio.wait(waiting)

    async def test_another_member_takes_over_at_once_when_the_reading_one_leaves(
        self, shelf, options
    ):
        ids = await some(shelf, 2)
        async with ImageReader(**options | {"session_timeout_seconds": 60.0}) as second:
            async with ImageReader(**options | {"session_timeout_seconds": 60.0}) as first:
                readers = {first, second}
                asked = {asyncio.create_task(anext(each)): each for each in readers}
                done, waiting = await asyncio.wait(asked, return_when="FIRST_COMPLETED")
                [reading], [left] = done, waiting
                assert reading.result().id == ids[0]
                if asked[reading] is second:
                    # Leave the outer one: the inner one takes over.
                    await second.__aexit__()
                    assert (await asyncio.wait_for(left, 20)).id == ids[0]
                    return
            assert (await asyncio.wait_for(left, 20)).id == ids[0]

    async def test_a_member_that_handles_one_image_for_too_long_loses_the_turn(
        self, shelf, options
    ):
        ids = await some(shelf, 2)
        slow = options | {"handling_timeout_seconds": 1.0, "auto_commit": False}
        async with ImageReader(**slow) as first, ImageReader(**options) as second:
            assert (await after(first)).id == ids[0]
            assert (await asyncio.wait_for(anext(second), 30)).id == ids[0]
            with pytest.raises(TurnLostError):
                await asyncio.wait_for(first.commit(), 5)

    async def test_shards_divide_the_images_and_each_has_a_group_of_its_own(self, shelf, options):
        ids = await some(shelf, 30)
        parts = [[*await read(options, shard=(number, 3))] for number in range(3)]
        assert sorted(each for part in parts for each in part) == sorted(ids)
        assert all(parts)
        reader = ImageReader(**options, shard=(1, 3))
        assert reader.group_id == f"{options['group_id']}.1-of-3"


@pytest.mark.apache_kafka
async def test_two_groups_and_a_killed_member_handle_every_image_and_skip_none(
    shelf, options, kafka
):
    noise = random.Random(17)
    sizes = [noise.choice([200, 900, 3 * CHUNK_BYTES + 7]) for _ in range(STORED)]
    ids = await shelf.put_many([noise.randbytes(size) for size in sizes], CHUNK_BYTES)
    for each in ids[::11]:
        await shelf.delete(each)
    expected = {
        (image_id, hashlib.sha256(data).hexdigest()) for image_id, data in shelf.stored.items()
    }
    assert len(expected) == STORED - STORED // 11
    other = options | {"group_id": options["group_id"] + "-2", "follow": False}
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(ReadingProcess(**other))
        killed = stack.enter_context(ReadingProcess(**options))
        await until(lambda: killed.handled, 60)
        standby = stack.enter_context(ReadingProcess(**options))
        await until(lambda: standby.is_open and len(killed.handled) > 300, 60)
        killed.kill()
        assert len(killed.handled) < 1_900
        await until(lambda: standby.handled, 60)
        await until(lambda: {*killed.handled, *standby.handled} == expected, 60)
        assert await asyncio.to_thread(alone.wait) == 0
    assert sorted(alone.handled) == sorted(expected)
    # A handful is handled twice: what was not committed yet when the member was killed.
    repeated = set(killed.handled) & set(standby.handled)
    assert len(repeated) <= 20


async def test_the_program_of_the_page_prints_each_image(shelf, options, tmp_path):
    ids = await some(shelf)
    [program] = re.findall(r"(?ms)^```python\n(import asyncio.*?)^```", PAGE)
    place = f'"{options["bootstrap_servers"]}", topic_prefix="{options["topic_prefix"]}"'
    assert program.count('"127.0.0.1:9092"') == 1
    path = tmp_path / "program.py"
    path.write_text(program.replace('"127.0.0.1:9092"', place))
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-u", path, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            lines = [(await running.stdout.readline()).decode().split() for _ in ids]
    finally:
        running.kill()
        await running.wait()
    assert lines == [[each, "image/png", "640", "480", "9"] for each in ids]


@pytest.mark.apache_kafka
async def test_a_reader_outlives_the_restart_of_its_broker(new_broker):
    broker = new_broker()
    async with opened_log(broker, append_timeout_seconds=20) as log:
        shelf = Shelf(log)
        ids = await some(shelf, 2)
        async with ImageReader(**of(broker, log)) as images:
            assert (await after(images)).id == ids[0]
            await asyncio.to_thread(broker.kill)
            waiting = asyncio.create_task(_next_bytes(images))
            await asyncio.to_thread(broker.start)
            assert await asyncio.wait_for(waiting, 60) == b"picture 1"
            await until(lambda: log.trouble is None, 30)
            await shelf.put(b"after it")
            assert await asyncio.wait_for(_next_bytes(images), 60) == b"after it"
            await asyncio.wait_for(images.commit(), 30)
        assert await read(of(broker, log)) == {}


async def _next_bytes(images):
    return await (await anext(images)).bytes()
