"""Keys in Vault: images go in and out, and an outage is a 503, never a picture in clear."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from app import settings
from app.errors import ConfigurationError, KeyUnavailableError
from app.sealing.configured import data_keys
from app.sealing.data_keys import DataKeys
from app.sealing.local_keys import LocalKeys
from app.sealing.vault import VaultKeys
from app.sealing.wrapped_key import WrappedKey
from tests.support import vault as stand_in
from tests.support.authority import Authority
from tests.support.in_process import in_process, problem
from tests.support.sealing import (
    K1,
    LARGE,
    NAME,
    SMALL,
    all_records,
    check_out,
    dump,
    ring,
    sealing,
    until_named,
    upload,
)
from tests.support.secured import server_context


@pytest.fixture
def vault():
    with stand_in.serving() as vault:
        yield vault


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def keys(vault, clock):
    """The key service, without a gateway."""
    service = VaultKeys(
        vault.url,
        "transit",
        "imagegate",
        lambda: stand_in.TOKEN,
        timeout_seconds=5,
        cache_seconds=100,
        clock=clock,
    )
    yield service
    await service.stop()


async def made(keys, count=1):
    kek = await keys.resolve("")
    return [await keys.generate(kek) for _ in range(count)]


async def test_images_are_sealed_by_versions_of_one_key_and_served_after_a_rotation(start, vault):
    first = await start(sealing=vault.sealing())
    older = await upload(first, LARGE)
    vault.rotate()
    newer = await upload(first, SMALL)
    for image in (older, newer):
        await check_out(first, image)
    assert b"Ottilie" not in dump(await all_records(first.gateway.log))
    usage = {"vault:imagegate:v1": 1, "vault:imagegate:v2": 1}
    assert await first.gateway.catalog.sealed_by() == usage
    await start.stop()
    start.forget_catalog()
    client = await start(sealing=vault.sealing())
    for image in (older, newer):
        await check_out(client, image)
    assert stand_in.TOKEN.encode() not in dump(await all_records(client.gateway.log))


@pytest.mark.parametrize("how", ["sealed", "forbidden", "away", "slow", "nonsense"])
async def test_while_vault_does_not_answer_both_ways_are_503_and_all_heals(tmp_path, vault, how):
    section = vault.sealing(vault_cache_seconds=0, vault_timeout_seconds=0.3)
    async with in_process(tmp_path, sealing=section) as client:
        image = await upload(client, SMALL)
        if how == "sealed":
            vault.is_sealed = True
        elif how == "forbidden":
            vault.token = ring(another=K1)
        elif how == "slow":
            vault.hang = threading.Event()
        elif how == "nonsense":
            vault.answer = 200, {"data": {"plaintext": "AAAA", "ciphertext": "vault:v1:AAAA"}}
        else:
            vault.answer = 502, {"errors": []}
        with capture_logs() as logs:
            for _ in range(2):
                refused = await client.get(image["url"])
                problem(refused, 503, "key-unavailable")
                assert refused.headers["retry-after"] == "5"
                stored = await client.post("/images", content=SMALL)
                problem(stored, 503, "key-unavailable")
        assert [line["event"] for line in logs].count("vault_unavailable") == 1
        assert len((await client.get("/images")).json()["images"]) == 1
        vault.is_sealed, vault.token, vault.answer = False, stand_in.TOKEN, None
        if vault.hang:
            vault.hang.set()
        async with asyncio.timeout(15):
            while (await client.get(image["url"])).status_code != 200:
                await asyncio.sleep(0.1)
        await check_out(client, image)
        assert (await client.post("/images", content=SMALL)).status_code == 201
    written = dump(await records_of(tmp_path))
    assert SMALL[200:216] not in written


async def records_of(folder):
    async with in_process(folder) as client:
        return await all_records(client.gateway.log)


async def test_a_catalog_that_is_rebuilt_while_vault_is_away_heals_when_it_is_back(tmp_path, vault):
    async with in_process(tmp_path, sealing=vault.sealing()) as client:
        image = await upload(client, SMALL)
    for each in tmp_path.glob("catalog.db*"):
        each.unlink()
    vault.is_sealed = True
    async with in_process(tmp_path, sealing=vault.sealing()) as client:
        assert (await client.get("/images")).json()["images"][0]["filename"] is None
        problem(await client.get(image["url"]), 503, "key-unavailable")
        vault.is_sealed = False
        await until_named(client, image["id"], NAME)
        await check_out(client, image)


async def test_what_a_keyring_sealed_before_is_opened_beside_vault(start, vault):
    older = await upload(await start(**sealing(k1=K1)), SMALL)
    await start.stop()
    client = await start(sealing=vault.sealing(keys=ring(k1=K1)))
    newer = await upload(client, SMALL)
    for image in (older, newer):
        await check_out(client, image)
    assert await client.gateway.catalog.sealed_by() == {"k1": 1, "vault:imagegate:v1": 1}


async def test_an_unwrapped_key_is_kept_for_a_while(vault, keys, clock):
    [one] = await made(keys)
    asked = len(vault.requests)
    for _ in range(3):
        assert await keys.unwrap([one.wrapped]) == [one.plain]
    assert len(vault.requests) == asked
    clock.seconds += 101
    assert await keys.unwrap([one.wrapped]) == [one.plain]
    assert len(vault.requests) == asked + 1


async def test_a_key_is_forgotten_in_time_though_nobody_asks_for_another(vault):
    keys = data_keys(settings.load(sealing=vault.sealing(vault_cache_seconds=0.05)).sealing)
    await asyncio.gather(*(keys.new() for _ in range(3)))
    held = keys._vault._cached
    assert held
    async with asyncio.timeout(10):
        while held:
            await asyncio.sleep(0.02)
    await keys.stop()


async def test_no_more_keys_are_kept_than_a_bounded_number(vault, keys, clock, monkeypatch):
    monkeypatch.setattr("app.sealing.vault._CACHED_KEYS", 3)
    some = await made(keys, 5)
    asked = len(vault.requests)
    assert await keys.unwrap([some[4].wrapped]) == [some[4].plain]
    assert len(vault.requests) == asked
    await keys.unwrap([some[0].wrapped])
    assert len(vault.requests) == asked + 1
    assert len(keys._cached) == 3


async def test_many_keys_are_one_request_and_one_that_is_bad_fails_alone(vault, keys, clock):
    some = await made(keys, 200)
    clock.seconds += 101
    vault.requests.clear()
    wrapped = [each.wrapped for each in some]
    bad = WrappedKey(wrapped[3].kek, wrapped[4].text[::-1].replace("=", "A"))
    wrapped[3] = bad
    found = await keys.unwrap([*wrapped, wrapped[0]])
    assert isinstance(found[3], KeyUnavailableError)
    found[3] = some[3].plain
    assert found == [*(each.plain for each in some), some[0].plain]
    assert sorted(vault.requests) == [
        ("/v1/transit/decrypt/imagegate", 72),
        ("/v1/transit/decrypt/imagegate", 128),
    ]


async def test_those_who_ask_for_one_key_at_once_share_a_request(vault, keys, clock):
    [one] = await made(keys)
    clock.seconds += 101
    vault.requests.clear()
    found = await asyncio.gather(*(keys.unwrap([one.wrapped]) for _ in range(20)))
    assert found == [[one.plain]] * 20
    assert len(vault.requests) == 1


async def test_after_a_failure_nothing_is_sent_for_a_second(vault, keys, clock):
    [one] = await made(keys)
    clock.seconds += 101
    vault.is_sealed = True
    await keys.unwrap([one.wrapped])
    asked = len(vault.requests)
    [found] = await keys.unwrap([one.wrapped])
    assert isinstance(found, KeyUnavailableError)
    with pytest.raises(KeyUnavailableError, match="status 503"):
        await keys.generate("vault:imagegate")
    assert len(vault.requests) == asked
    vault.is_sealed = False
    clock.seconds += 1
    assert await keys.unwrap([one.wrapped]) == [one.plain]


async def test_while_no_key_is_to_be_had_uploads_are_refused_before_their_bodies_are_looked_at(
    tmp_path, vault
):
    async with in_process(tmp_path, sealing=vault.sealing()) as client:
        vault.is_sealed = True
        problem(await client.post("/images", content=b"no image"), 415, "unsupported-format")
        # The first image finds it out.
        problem(await client.post("/images", content=SMALL), 503, "key-unavailable")
        for _ in range(3):
            refused = await client.post("/images", content=b"no image")
            problem(refused, 503, "key-unavailable")
            assert refused.headers["retry-after"] == "5"
        vault.is_sealed = False
        # And no image is needed to find out that it is back.
        async with asyncio.timeout(15):
            while (told := await client.post("/images", content=b"no image")).status_code == 503:
                await asyncio.sleep(0.05)
        problem(told, 415, "unsupported-format")
        assert (await client.post("/images", content=SMALL)).status_code == 201


async def test_after_a_failure_those_who_ask_at_once_whether_there_are_keys_share_a_request(
    vault, keys, clock
):
    kek = "vault:imagegate"
    await keys.require(kek)
    assert vault.requests == []
    vault.is_sealed = True
    with pytest.raises(KeyUnavailableError):
        await keys.generate(kek)
    for answers, seconds in ((0, 0), (1, 1)):
        clock.seconds += seconds
        vault.requests.clear()
        found = await asyncio.gather(
            *(keys.require(kek) for _ in range(20)), return_exceptions=True
        )
        assert [each.is_away for each in found] == [True] * 20
        assert len(vault.requests) == answers
    vault.is_sealed = False
    clock.seconds += 1
    vault.requests.clear()
    await asyncio.gather(*(keys.require(kek) for _ in range(20)))
    assert len(vault.requests) == 1


async def test_those_who_wait_for_a_slow_vault_are_a_bounded_number_for_a_bounded_time(
    vault, monkeypatch, clock
):
    for name, value in {"AT_ONCE": 2, "MAX_WAITING": 3, "MAX_WAIT_SECONDS": 0.05}.items():
        monkeypatch.setattr(f"app.sealing.turns._{name}", value)
    slow = VaultKeys(
        *(vault.url, "transit", "imagegate", lambda: stand_in.TOKEN),
        timeout_seconds=60,
        cache_seconds=0,
        clock=clock,
    )
    some = await made(slow, 2)
    vault.hang = threading.Event()
    with capture_logs() as logs:
        served = [asyncio.create_task(slow.unwrap([each.wrapped])) for each in some]
        async with asyncio.timeout(10):
            while len(vault.requests) < 4:
                await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(slow.generate("vault:imagegate")) for _ in range(8)]
        refused, _ = await asyncio.wait(waiting, timeout=0.02)
        found = await asyncio.gather(*waiting, return_exceptions=True)
        vault.hang.set()
        assert await asyncio.gather(*served) == [[each.plain] for each in some]
    # The last five at once, the first three once they had waited.
    assert [each.is_away for each in found] == [True] * 8
    assert ["too many" in each.detail for each in found] == [False] * 3 + [True] * 5
    assert set(waiting[3:]) <= refused
    assert len(vault.requests) == 4
    # That there is a crowd here says nothing about Vault.
    assert logs == []
    await slow.generate("vault:imagegate")
    await slow.stop()


@pytest.mark.parametrize(("operation", "other"), [("datakey", "decrypt"), ("decrypt", "datakey")])
async def test_what_the_token_may_not_do_keeps_nothing_else_from_being_done(
    vault, keys, clock, operation, other
):
    some = await made(keys, 3)
    clock.seconds += 101
    vault.forbidden = operation
    with capture_logs() as logs:
        for each in some:
            if operation == "datakey":
                with pytest.raises(KeyUnavailableError, match="status 403"):
                    await keys.generate("vault:imagegate")
                assert await keys.unwrap([each.wrapped]) == [each.plain]
            else:
                [found] = await keys.unwrap([each.wrapped])
                assert isinstance(found, KeyUnavailableError)
                await keys.generate("vault:imagegate")
            clock.seconds += 1
    assert [line["event"] for line in logs] == ["vault_unavailable"]
    vault.forbidden = ""
    with capture_logs() as logs:
        await made(keys)
        clock.seconds += 101
        await keys.unwrap([some[0].wrapped])
    assert [line["event"] for line in logs] == ["vault_available"]


async def test_an_answer_without_an_end_is_not_read_to_it(vault, keys, clock):
    [one] = await made(keys)
    clock.seconds += 101
    vault.is_endless = True
    [found] = await keys.unwrap([one.wrapped])
    assert isinstance(found, KeyUnavailableError)
    assert "over 1,000,000 bytes" in found.detail
    # Those that were under way.
    assert vault.sent < 20_000_000


async def test_a_token_that_no_header_can_hold_is_a_503_and_is_not_quoted(tmp_path, vault):
    section = vault.sealing(vault_token="hvs.sécret-token")  # noqa: S106 - of a stand-in
    async with in_process(tmp_path, sealing=section) as client:
        with capture_logs() as logs:
            problem(await client.post("/images", content=SMALL), 503, "key-unavailable")
    assert "cret-token" not in repr(logs)


async def test_no_part_of_a_data_key_is_in_the_log_whatever_vault_answers(tmp_path, vault):
    vault.answer = 200, {"data": {"plaintext": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="}}
    async with in_process(tmp_path, sealing=vault.sealing()) as client:
        with capture_logs() as logs:
            problem(await client.post("/images", content=SMALL), 503, "key-unavailable")
    assert "request_failed" in [line["event"] for line in logs]
    assert "QUJDREVG" not in repr(logs)


@pytest.mark.parametrize("kek", ["vault:other:v1", "vault:..:v1", "vault:imagegate"])
async def test_a_wrapped_key_of_another_key_of_vault_is_not_even_asked_for(vault, keys, kek):
    [one] = await made(keys)
    vault.requests.clear()
    [found] = await keys.unwrap([WrappedKey(kek, one.wrapped.text)])
    assert isinstance(found, KeyUnavailableError)
    assert vault.requests == []


async def test_a_version_that_vault_no_longer_decrypts_is_unavailable(vault, keys, clock):
    [one] = await made(keys)
    vault.rotate()
    vault.min_version = 2
    clock.seconds += 101
    [found] = await keys.unwrap([one.wrapped])
    assert isinstance(found, KeyUnavailableError)
    assert "vault:imagegate:v1" in found.reason
    [newer] = await made(keys)
    assert newer.wrapped.kek == "vault:imagegate:v2"


async def test_a_token_in_a_file_is_read_again_when_it_changes(tmp_path, vault):
    file = tmp_path / "token"
    file.write_text("hvs.expired\n")
    section = vault.sealing(vault_token_file=str(file), vault_cache_seconds=0)
    del section["vault_token"]
    async with in_process(tmp_path / "data", sealing=section) as client:
        problem(await client.post("/images", content=SMALL), 503, "key-unavailable")
        file.write_text(f"{stand_in.TOKEN}\n")
        async with asyncio.timeout(15):
            while (stored := await client.post("/images", content=SMALL)).status_code != 201:
                await asyncio.sleep(0.1)
        assert (await client.get(stored.json()["url"])).status_code == 200


async def test_vault_is_spoken_to_by_https_only_if_its_certificate_is_of_our_authority(tmp_path):
    ours, other = (Authority(tmp_path / f"{name}.pem") for name in ("ours", "other"))
    certificate = ours.issue(tmp_path / "vault.pem", "vault")
    with stand_in.serving(server_context(certificate)) as vault:
        for authority in (ours, other):
            section = vault.sealing(vault_ca_file=str(authority.file))
            keys = data_keys(settings.load(sealing=section).sealing)
            if authority is ours:
                made = await keys.new()
                assert await keys.unwrap(made.wrapped) == made.plain
            else:
                with pytest.raises(KeyUnavailableError, match="no answer"):
                    await keys.new()
            await keys.stop()
    assert len(vault.requests) == 1
    section = {"vault_url": "https://v.example", "vault_token": "t", "vault_ca_file": "/none"}
    with pytest.raises(ConfigurationError, match="/none"):
        data_keys(settings.load(sealing=section).sealing)


async def test_mount_key_and_namespace_are_those_of_the_settings(vault):
    section = vault.sealing(vault_mount="team/transit", vault_key="k", vault_namespace="a/b")
    keys = data_keys(settings.load(sealing=section).sealing)
    with pytest.raises(KeyUnavailableError, match="status 404"):
        await keys.new()
    await keys.stop()
    assert vault.requests == [("/v1/team/transit/datakey/plaintext/k", 0)]
    assert vault.namespaces == ["a/b"]


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"vault_url": "https://vault.example"}, "VAULT_TOKEN"),
        (
            {"vault_url": "https://v.example", "vault_token": "t", "vault_token_file": "/t"},
            "VAULT_TOKEN_FILE",
        ),
        ({"vault_url": "http://vault.example", "vault_token": "t"}, "VAULT_URL"),
        ({"vault_key": "../keys"}, "VAULT_KEY"),
        ({"vault_mount": "../sys"}, "VAULT_MOUNT"),
    ],
)
def test_settings_that_do_not_fit_are_an_error(section, named):
    with pytest.raises(ConfigurationError, match=f"IMAGEGATE_SEALING__{named}"):
        data_keys(settings.load(sealing=section).sealing)


async def test_keys_are_wrapped_again_by_the_latest_version_in_one_request(vault, keys):
    some = [each.wrapped for each in await made(keys, 3)]
    vault.rotate()
    newest = [each.wrapped for each in await made(keys)]
    before = len(vault.requests)
    again = await keys.rewrap([*some, *newest], "vault:imagegate")
    assert [each.kek for each in again] == ["vault:imagegate:v2"] * 4
    assert again[3] == newest[0]
    assert len(vault.requests) == before + 1
    assert await keys.unwrap(again) == await keys.unwrap([*some, *newest])
    lost = WrappedKey("vault:imagegate:v9", some[0].text)
    [found, other] = await keys.rewrap([lost, some[1]], "vault:imagegate")
    assert isinstance(found, KeyUnavailableError)
    assert other.kek == "vault:imagegate:v2"
    vault.forbidden = "rewrap"
    with pytest.raises(KeyUnavailableError, match="status 403"):
        await keys.rewrap(some, "vault:imagegate")
    await keys.unwrap(some)


async def test_keys_of_a_ring_are_wrapped_again_by_vault(vault, keys):
    ring_keys = LocalKeys(lambda: {"k1": K1})
    both = DataKeys(ring_keys, keys)
    older = await ring_keys.generate("k1")
    [own] = await made(keys)
    foreign = WrappedKey("k7", older.wrapped.text)
    again, missing, kept = await both.rewrap([older.wrapped, foreign, own.wrapped])
    assert again.kek == "vault:imagegate:v1"
    assert isinstance(missing, KeyUnavailableError)
    assert kept == own.wrapped
    assert await both.unwrap(again) == older.plain
    vault.is_sealed = True
    with pytest.raises(KeyUnavailableError):
        await both.rewrap([older.wrapped])


async def test_that_vault_is_back_is_said_once_by_whichever_answer_comes_first(vault, keys, clock):
    [one] = await made(keys)
    clock.seconds += 101
    vault.is_sealed = True
    [found] = await keys.unwrap([one.wrapped])
    assert found.is_away
    vault.is_sealed = False
    clock.seconds += 2
    with capture_logs() as logs:
        await made(keys)
        assert await keys.unwrap([one.wrapped]) == [one.plain]
    assert [line["event"] for line in logs] == ["vault_available"]
