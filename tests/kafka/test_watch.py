"""`imagegate watch`: the events in the log, a line each."""

import asyncio
import json
import signal
from datetime import UTC, datetime, timedelta

import pytest

from app.events.event import SigningBegan, encode
from app.log import EVENTS, Record
from tests.support.commands import Command
from tests.support.facts import NEWER, UNKNOWN, image_id, moved, until
from tests.support.shelf import Shelf
from tests.support.signing import K1, OURS, keys

pytestmark = pytest.mark.kafka

SECONDS = 30


@pytest.fixture
def shelf(log):
    return Shelf(log)


@pytest.fixture
async def watch(kafka, log):
    """Start the command with these arguments and settings; it ends with the test."""
    running = []

    async def start(*arguments, **settings):
        prefix = log._topics.names[EVENTS].removesuffix(EVENTS)
        process = await Command.start(
            *("watch", "--kafka", kafka.bootstrap_servers, *arguments),
            environment={"IMAGEGATE_KAFKA__TOPIC_PREFIX": prefix} | settings,
        )
        running.append(process)
        return process

    yield start
    for each in running:
        each.close()


async def ended(process):
    """Return the exit status, the lines that it printed, and its errors."""
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    return process.returncode, output.decode().splitlines(), errors.decode()


async def found(watch, *arguments, **settings):
    """Return what it printed of the log, as JSON."""
    process = await watch("--since", "0", "--no-follow", "--json", *arguments, **settings)
    status, lines, errors = await ended(process)
    assert (status, errors) == (0, "")
    return [json.loads(line) for line in lines]


async def test_each_event_is_a_line_with_what_it_says(shelf, watch):
    stored = await shelf.put(b"picture", owner="key:abc")
    await shelf.delete(stored)
    await shelf.log.append(EVENTS, [Record(b"x", b"no event"), UNKNOWN, encode(SigningBegan((1,)))])
    status, lines, _ = await ended(await watch("--since", "0", "--no-follow"))
    assert status == 0
    today = datetime.now(UTC).date().isoformat()
    assert all(line.startswith(today[:8]) for line in lines)
    assert [line.split("  ", 1)[1].strip() for line in lines] == [
        f'0  image.stored    {stored}  image/png  640x480  7 bytes  "Küste.png"  of key:abc',
        f"1  image.deleted   {stored}",
        f"3  image.tagged    {UNKNOWN.key.decode()}",
        "4  image.signing-began",
    ]


async def test_json_has_everything_that_is_known(shelf, watch):
    stored = await shelf.put(b"picture")
    [said] = await found(watch)
    assert (said["sequence"], said["type"], said["id"]) == (0, "image.stored", stored)
    assert (said["content_length"], said["metadata_removed"]) == (7, [])
    at = datetime.fromisoformat(said["time"])
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=5)


async def test_json_of_a_moved_image_says_when_it_was_first_stored(shelf, watch):
    await shelf.announce(moved(1, 2))
    [said] = await found(watch)
    assert (said["type"], said["former_ids"]) == ("image.moved", [image_id(2)])
    assert said["created_at"] == "2020-09-13T12:26:40.123Z"


async def test_filters_leave_only_what_is_asked_for(shelf, watch):
    one = await shelf.put(b"1", owner="key:a", source="Tür")
    two = await shelf.put(b"2", owner="key:b", content_type="image/webp", source="gate")
    await shelf.delete(one, source="Tür")

    async def sequences(*arguments):
        return [said["sequence"] for said in await found(watch, *arguments)]

    assert await sequences("--type", "image.deleted") == [2]
    assert await sequences("--type", "image.deleted", "--type", "image.stored") == [0, 1, 2]
    assert await sequences("--owner", "key:b") == [1]
    assert await sequences("--content-type", "image/webp") == [1]
    assert await sequences("--content-type", "image/*") == [0, 1]
    assert await sequences("--owner", "key:a", "--content-type", "image/webp") == []
    assert await sequences("--source", " Tu\u0308r") == [0, 2]
    assert await sequences("--source", "gate") == [1]
    assert two


async def test_it_begins_at_a_time_a_number_or_now(shelf, watch):
    await shelf.put(b"1")
    between = datetime.now(UTC) + timedelta(milliseconds=1)
    await until(lambda: datetime.now(UTC) > between + timedelta(milliseconds=1))
    await shelf.put(b"2")

    async def lines(*arguments):
        status, printed, _ = await ended(await watch("--no-follow", *arguments))
        assert status == 0
        return len(printed)

    assert await lines() == 0
    assert await lines("--since", "1h") == 2
    assert await lines("--since", between.isoformat()) == 1
    assert await lines("--since", "1") == 1
    assert await lines("--since", "99") == 0
    assert await lines("--since", (between + timedelta(days=1)).isoformat()) == 0


async def test_events_come_while_it_runs_until_it_is_interrupted(shelf, watch):
    await shelf.put(b"before")
    process = await watch("--since", "0", "--json")
    async with asyncio.timeout(SECONDS):
        first = json.loads(await process.stdout.readline())
        later = await shelf.put(b"later")
        second = json.loads(await process.stdout.readline())
    assert (first["sequence"], second["id"]) == (0, later)
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (130, [], "")


async def test_who_has_enough_ends_it_without_an_error(shelf, watch):
    await shelf.put(b"1")
    process = await watch("--since", "0")
    async with asyncio.timeout(SECONDS):
        await process.stdout.readline()
        process.stdout.close()
        while process.returncode is None:
            await shelf.put(b"another")
    assert process.returncode == 0
    assert await process.stderr.read() == b""


async def test_with_keys_it_says_what_is_unsigned_and_leaves_out_what_is_wrongly_signed(
    shelf, watch
):
    signed, unsigned, wrong = [await shelf.put_silently(b"%d" % number) for number in range(3)]
    tampered = OURS.sign(EVENTS, encode(wrong))
    await shelf.log.append(
        EVENTS,
        [
            OURS.sign(EVENTS, encode(signed)),
            encode(unsigned),
            Record(tampered.key, encode(wrong).value, tampered.headers),
        ],
    )
    said = await found(watch, IMAGEGATE_KAFKA__SIGNING_KEYS=keys(k1=K1))
    assert [(each["id"], each["signed"]) for each in said] == [
        (signed.image_id, True),
        (unsigned.image_id, False),
    ]


async def test_an_event_of_a_newer_version_ends_it_with_an_error(shelf, watch):
    await shelf.put(b"before")
    await shelf.log.append(EVENTS, [NEWER])
    status, lines, errors = await ended(await watch("--since", "0"))
    assert (status, len(lines)) == (1, 1)
    assert "upgrade imagegate" in errors
