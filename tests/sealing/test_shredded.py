"""Images that are erased by their keys, on Kafka: in, out, deleted, and what remains of them."""

import time

import pytest

from app.catalog import images as catalog_images
from app.catalog import loose_keys
from app.catalog.loose_keys import KeyScan, ReadKey
from app.changes import key_sweep
from app.changes.forget import forget
from app.changes.key_sweep import KeySweep
from app.changes.sweep import Sweeper
from app.errors import ImageGoneError, NotWrittenError
from app.feed.expiry import Expiry
from app.log import EVENTS, IMAGES, KEYS, Position
from app.records.address import COOKIE_BYTES, Address, parse
from app.records.key_reader import KeyReader, gone
from app.records.signature import NO_SIGNATURES, Signatures
from app.records.writer import append_keys
from app.sealing.wrapped_key import WrappedKey
from tests.support import commands, plain
from tests.support.credentials import bearer, make_key, owner_of
from tests.support.in_process import problem
from tests.support.sealing import (
    K1,
    K2,
    LARGE,
    PACKED,
    SMALL,
    all_records,
    check_out,
    dump,
    ring,
    sealing,
    until_named,
    upload,
)

pytestmark = pytest.mark.kafka

UPLOADS = [(SMALL, "balanced"), (LARGE, "original"), (PACKED, "archive")]


@pytest.fixture
def start(shredding):
    return shredding


async def keys_in(log):
    """The records of the topic of keys, ticks left out."""
    return [record for _, record in await all_records(log, [KEYS]) if record.key != b"tick"]


async def is_erased(log, key):
    """Tell whether a tombstone of a key follows it."""
    of_it = [record.value for record in await keys_in(log) if record.key == key]
    return of_it[-1] is None


def sweep_of(client, **options):
    """The sweep of keys of a gateway, which does not wait for a tick."""
    gateway = client.gateway
    own = {"segment_seconds": 3600, "tick_seconds": 0} | options
    return KeySweep(gateway.log, gateway.catalog, gateway.feed, NO_SIGNATURES, **own)


async def test_an_image_has_its_key_in_a_record_of_its_own_which_a_deletion_ends(start):
    client = await start(kafka={"signing_keys": ring(s1=K2)}, **sealing(k1=K1))
    stored = [await upload(client, data, profile) for data, profile in UPLOADS]
    for image in stored:
        await check_out(client, image)
    assert (await client.get("/images")).json()["images"] == stored[::-1]
    log = client.gateway.log
    keys = await keys_in(log)
    assert [bool(record.value) for record in keys] == [True] * len(stored)
    assert {record.header("imagegate-version") for record in keys} == {b"6"}
    assert all(record.header("imagegate-signature") for record in keys)
    records = [each for each in await all_records(log) if each[0] in (IMAGES, EVENTS)]
    assert all(record.value not in dump(records) for record in keys)
    stating = [record for _, record in records if record.header("imagegate-key")]
    assert len(stating) == 2 * len(stored)
    for record in stating:
        assert record.header("imagegate-wrapped-key") is None
        where = parse(record.header("imagegate-key").decode())
        assert where.opens(keys[where.position.offset].key)

    for image in stored:
        assert (await client.delete(image["url"])).status_code == 204
        problem(await client.get(image["url"]), 410, "image-gone")
        assert (await client.delete(image["url"])).status_code == 204
    now = await keys_in(log)
    assert [record.key for record in now[len(keys) :]] == [record.key for record in keys]
    assert [record.value for record in now[len(keys) :]] == [None] * len(keys)


async def test_a_deletion_that_a_crash_cut_short_is_finished_by_a_sweep_and_no_other(
    start, monkeypatch
):
    client = await start(**sealing(k1=K1))
    kept, cut, whole = [await upload(client, SMALL) for _ in range(3)]
    log = client.gateway.log
    append = log.append

    async def without_tombstones(topic, *rest):
        if topic == KEYS:
            raise NotWrittenError("Killed.")
        return await append(topic, *rest)

    with monkeypatch.context() as context:
        context.setattr(log, "append", without_tombstones)
        assert (await client.delete(cut["url"])).status_code == 204
        problem(await client.get(cut["url"]), 410, "image-gone")
    assert (await client.delete(whole["url"])).status_code == 204
    other = await start("other", **sealing(k1=K1))
    before = len(await keys_in(log))
    # Not yet: the gateway that deleted it may be about to.
    for each in (client, other):
        assert await sweep_of(each).sweep() == 0
    monkeypatch.setattr(loose_keys, "GRACE_MS", 0)
    rebuilt = await start("rebuilt", **sealing(k1=K1))
    assert await sweep_of(rebuilt).sweep() == 1
    assert [record.value for record in (await keys_in(log))[before:]] == [None]
    keys = await keys_in(log)
    erased = [await is_erased(log, record.key) for record in keys[:3]]
    assert erased == [False, True, True]
    # Nothing is left to do for anyone.
    for each in (client, other, rebuilt):
        assert await sweep_of(each).sweep() == 0
        assert await each.gateway.catalog.loose_keys(2**62, -1, 10) == []
    assert len(await keys_in(log)) == before + 1
    await check_out(client, kept)


async def test_a_key_that_no_event_names_is_erased_after_a_day_by_the_clock_of_the_log(
    start, monkeypatch
):
    client = await start(**sealing(k1=K1))
    kept = await upload(client, SMALL)
    log = client.gateway.log
    [lost] = await append_keys(log, NO_SIGNATURES, [WrappedKey("k1", "A" * 56)])
    assert await sweep_of(client).sweep() == 0
    assert await client.gateway.catalog.loose_keys(2**62, -1, 10) == [lost]
    # A gateway whose clock is a week ahead.
    now_ns = time.time_ns
    with monkeypatch.context() as context:
        context.setattr(time, "time_ns", lambda: now_ns() + 7 * 86_400 * 10**9)
        assert await sweep_of(client).sweep() == 0
    monkeypatch.setattr(loose_keys, "ORPHAN_MS", 0)
    rebuilt = await start("rebuilt", **sealing(k1=K1))
    assert await sweep_of(rebuilt).sweep() == 1
    assert await is_erased(log, lost.cookie.hex().encode())
    await check_out(client, kept)


async def test_the_key_of_a_listed_image_is_never_due_though_it_was_read_before_the_event(
    start, monkeypatch
):
    client = await start(**sealing(k1=K1))
    kept = await upload(client, SMALL)
    catalog = client.gateway.catalog
    key = (await catalog.seal_of(kept["id"])).key
    with monkeypatch.context() as context:
        context.setattr(loose_keys, "_is_named", lambda *_: False)
        await catalog.keys_read([ReadKey(key, 0, is_tombstone=False)], KeyScan())
    assert await catalog.loose_keys(2**62, -1, 10) == []
    assert await sweep_of(client).sweep() == 0
    await check_out(client, kept)


async def test_a_key_whose_signature_is_not_ours_is_left_alone(start, monkeypatch):
    monkeypatch.setattr(loose_keys, "ORPHAN_MS", 0)
    signing = {"signing_keys": ring(s1=K2)}
    client = await start(kafka=signing, **sealing(k1=K1))
    image = await upload(client, SMALL)
    # It takes all events for those of strangers.
    wrong = await start("wrong", kafka={"signing_keys": ring(s1=K1)}, **sealing(k1=K1))
    assert (await wrong.get("/images")).json()["images"] == []
    gateway = wrong.gateway
    sweep = KeySweep(
        gateway.log, gateway.catalog, gateway.feed, Signatures({"s1": K1}), tick_seconds=0
    )
    assert await sweep.sweep() == 0
    await check_out(client, image)


async def test_an_idle_topic_is_ticked_once_behind_a_tombstone(start):
    client = await start(**sealing(k1=K1))
    image = await upload(client, SMALL)
    log = client.gateway.log

    async def ticks():
        return [r for _, r in await all_records(log, [KEYS]) if r.key == b"tick"]

    sweep = sweep_of(client, segment_seconds=0.001)
    await sweep.sweep()
    assert await ticks() == []
    assert (await client.delete(image["url"])).status_code == 204
    for _ in range(3):
        await sweep.sweep()
    assert len(await ticks()) == 1
    await sweep_of(client).sweep()
    assert len(await ticks()) == 1


async def test_an_image_whose_key_is_gone_is_a_410_and_listed_until_its_deletion_is_applied(
    start, monkeypatch
):
    client = await start(**sealing(k1=K1))
    image, other = [await upload(client, SMALL) for _ in range(2)]
    read = KeyReader.read

    async def compacted(self, addresses):
        found = await read(self, addresses)
        return found | {each: gone() for each in addresses if each.position.offset == 0}

    monkeypatch.setattr(KeyReader, "read", compacted)
    rebuilt = await start("rebuilt", **sealing(k1=K1))
    problem(await rebuilt.get(image["url"]), 410, "image-gone")
    listed = (await rebuilt.get("/images")).json()["images"]
    assert [each["filename"] for each in listed] == [other["filename"], None]
    assert await rebuilt.gateway.catalog.count_locked() == 0
    assert await rebuilt.gateway.catalog.sealed_by() == {"k1": 1}
    await check_out(rebuilt, other)
    assert (await client.delete(image["url"])).status_code == 204
    await rebuilt.gateway.feed.caught_up()
    assert (await rebuilt.get("/images")).json()["images"] == [other]


async def test_a_key_of_a_topic_that_took_the_place_of_another_is_not_the_images(start):
    client = await start(**sealing(k1=K1))
    for _ in range(6):
        await upload(client, SMALL)
    log = client.gateway.log
    others = [Address(Position(0, offset), bytes(COOKIE_BYTES)) for offset in range(6)]
    for addresses in ([others[0]], others):
        found = await KeyReader(log).read(addresses)
        assert {type(found[each]) for each in addresses} == {ImageGoneError}


async def test_a_gateway_of_the_other_setting_serves_and_erases_what_is_there(start):
    client = await start(**sealing(k1=K1))
    image = await upload(client, LARGE, "original")
    plain = await start("plain", kafka={"erasure": "retention"}, **sealing(k2=K2, k1=K1))
    beside = await upload(plain, SMALL)
    for each in (client, plain):
        await each.gateway.feed.caught_up()
    await check_out(plain, image)
    problem(await client.get(beside["url"]), 503, "key-unavailable")
    [key] = await keys_in(client.gateway.log)
    for each in (image, beside):
        assert (await plain.delete(each["url"])).status_code == 204
    assert await is_erased(client.gateway.log, key.key)
    assert len(await keys_in(client.gateway.log)) == 2


async def test_keys_are_wrapped_again_by_the_newest_and_the_old_records_erased(start):
    client = await start(**sealing(k1=K1))
    older = [await upload(client, data, profile) for data, profile in UPLOADS]
    gone = await upload(client, SMALL)
    assert (await client.delete(gone["url"])).status_code == 204
    plain = await start("plain", kafka={"erasure": "retention"}, **sealing(k1=K1))
    beside = await upload(plain, SMALL)
    both = await start("both", **sealing(k2=K2, k1=K1))
    newer = await upload(both, SMALL)
    log = client.gateway.log
    before = await keys_in(log)

    def command(*arguments, **named):
        return commands.run(
            *("keys", *arguments),
            IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS=start.kafka["bootstrap_servers"],
            IMAGEGATE_KAFKA__TOPIC_PREFIX=start.kafka["topic_prefix"],
            IMAGEGATE_SEALING__KEYS=ring(**named),
        )

    assert "3 keys would be wrapped again; 1 were" in command("rewrap", "--dry-run", k2=K2, k1=K1)
    assert await keys_in(log) == before
    said = command("rewrap", k2=K2, k1=K1)
    assert "3 keys were wrapped again; 1 were wrapped by the newest" in said
    assert "1 images are not erased by their keys" in said
    for record in before[:3]:
        assert await is_erased(log, record.key)
    assert "0 keys were wrapped again; 4 were" in command("rewrap", k2=K2, k1=K1)
    counted = [line.split() for line in command("usage", k2=K2, k1=K1).splitlines()[1:]]
    assert counted == [["k1", "1", "yes"], ["k2", "4", "yes"]]
    # Those that knew the old records, and those that never saw them.
    assert await both.gateway.feed.caught_up() is None
    rebuilt = await start("rebuilt", **sealing(k2=K2))
    for image in (*older, newer):
        for each in (both, rebuilt):
            await until_named(each, image["id"], image["filename"])
            await check_out(each, image)
    problem(await rebuilt.get(beside["url"]), 503, "key-unavailable")
    for image in older:
        assert (await rebuilt.delete(image["url"])).status_code == 204
    last = [r for r in await keys_in(log) if not await is_erased(log, r.key)]
    assert len(last) == 1


async def test_everything_of_an_owner_is_erased_by_its_keys(start, tmp_path):
    (tmp_path / "data").mkdir()
    key = make_key(tmp_path / "data", "admin")
    client = await start(**sealing(k1=K1))
    client.headers.update(bearer(key))
    for _ in range(2):
        await upload(client, SMALL)
    gateway, owner = client.gateway, owner_of(key)
    arguments = (gateway.log, gateway.catalog, NO_SIGNATURES, owner)
    assert (await forget(*arguments, keep=True)).erased == 2
    assert len(await keys_in(gateway.log)) == 2
    assert (await forget(*arguments)).erased == 2
    for record in (await keys_in(gateway.log))[:2]:
        assert await is_erased(gateway.log, record.key)


async def test_the_key_of_an_image_that_has_expired_is_erased_with_it(start, monkeypatch):
    client = await start(**sealing(k1=K1))
    await upload(client, SMALL, expires_in=1000)
    gateway, now = client.gateway, time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2000)
    sweeper = Sweeper(gateway.log, gateway.catalog, gateway.feed, NO_SIGNATURES)
    assert await sweeper.sweep() == 1
    [key, _] = await keys_in(gateway.log)
    assert await is_erased(gateway.log, key.key)


async def test_the_key_of_an_image_that_left_the_log_is_erased_by_one_of_the_gateways(
    start, kafka, monkeypatch
):
    client = await start(**sealing(k1=K1))
    image = await upload(client, SMALL)
    gateway, where = client.gateway, parse(image["id"]).position
    topic = f"{start.kafka['topic_prefix']}{IMAGES}"
    await plain.delete_before(kafka, topic, where.partition, where.offset + 1)
    monkeypatch.setattr(catalog_images, "_SPREAD_SECONDS", 0)
    monkeypatch.setattr(loose_keys, "GRACE_MS", 0)
    await Expiry(gateway.log, gateway.catalog).compare()
    problem(await client.get(image["url"]), 410, "image-gone")
    assert await sweep_of(client).sweep() == 1
    [key, _] = await keys_in(gateway.log)
    assert await is_erased(gateway.log, key.key)


async def test_with_no_key_or_another_one_they_are_503_and_can_be_deleted(start):
    client = await start(**sealing(k1=K1))
    image, deleted = await upload(client, SMALL), await upload(client, SMALL)
    for name, named in (("none", {}), ("wrong", {"k1": K2}), ("other", {"k2": K2})):
        other = await start(name, kafka={"erasure": "retention"}, **sealing(**named))
        problem(await other.get(image["url"]), 503, "key-unavailable")
        listed = (await other.get("/images")).json()["images"]
        assert [each["filename"] for each in listed] == [None, None]
    assert (await other.delete(deleted["url"])).status_code == 204
    assert await is_erased(client.gateway.log, (await keys_in(client.gateway.log))[1].key)
    await client.gateway.feed.caught_up()
    problem(await client.get(deleted["url"]), 410, "image-gone")
    await check_out(client, image)


async def test_a_sweep_waits_once_for_a_log_that_does_not_take_its_tombstones(start, monkeypatch):
    client = await start(**sealing(k1=K1))
    gateway = client.gateway
    lost = [WrappedKey("k1", "A" * 56)] * 3
    keys = await append_keys(gateway.log, NO_SIGNATURES, lost)
    monkeypatch.setattr(loose_keys, "ORPHAN_MS", 0)
    monkeypatch.setattr(key_sweep, "_AT_ONCE", 1)
    append, refused = gateway.log.append, []

    async def refuse(topic, records, *rest):
        if records[0].key == b"tick":
            return await append(topic, records, *rest)
        refused.append(records)
        raise NotWrittenError("Away.")

    with monkeypatch.context() as context:
        context.setattr(gateway.log, "append", refuse)
        assert await sweep_of(client).sweep() == 0
    assert len(refused) == 1
    assert await gateway.catalog.loose_keys(2**62, -1, 10) == keys
    assert await sweep_of(client).sweep() == 3


async def test_a_gateway_that_ran_before_there_was_a_topic_of_keys_finds_it(start):
    before = await start("before", kafka={"erasure": "retention"}, **sealing(k1=K1))
    assert await sweep_of(before).sweep() == 0
    client = await start(**sealing(k1=K1))
    image = await upload(client, SMALL)
    await until_named(before, image["id"], image["filename"])
    await check_out(before, image)
    assert (await before.delete(image["url"])).status_code == 204
    [key, _] = await keys_in(client.gateway.log)
    assert await is_erased(client.gateway.log, key.key)
