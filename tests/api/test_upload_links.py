"""Upload links: for a client that nobody trusts, which can choose nothing and no more than once."""

import asyncio

import pytest
import structlog

from app.api.body import RequestBody
from app.events.event import decode
from app.log import EVENTS, IMAGES, Position
from app.records import address
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.facts import until
from tests.support.in_process import in_process, problem
from tests.support.links import changed, make
from tests.support.world import find_damaged

JPEG = images.jpeg()


@pytest.fixture
async def client(tmp_path):
    make_key(tmp_path, "ops:read")
    async with in_process(tmp_path) as client:
        client.key = make_key(tmp_path, "admin")
        client.app_access._keys._looked = -1e9
        yield client


async def link(client, **wanted):
    return (await make(client, getattr(client, "key", None), kind="upload", **wanted))["url"]


async def upload(client, url, data=JPEG, **fields):
    return await client.post(url, files={"file": ("img.jpg", data)}, data=fields)


async def listed(client):
    headers = bearer(client.key) if hasattr(client, "key") else {}
    return (await client.get("/images", headers=headers)).json()["images"]


async def announced(client):
    """The events of stored images, those included whose claim does not count."""
    log = client.gateway.log
    end = (await log.bounds(EVENTS, 0)).end
    return [decode((await log.read(EVENTS, Position(0, each))).record) for each in range(end)]


async def rebuild(client, monkeypatch):
    """Have the catalog filled again from the first event, as after damage."""
    feed = client.gateway.feed
    before = feed.epoch
    with monkeypatch.context() as patch:
        find_damaged(client.gateway.catalog, patch)
        await client.post("/images", content=JPEG, headers=bearer(client.key))
        await until(lambda: feed.epoch > before)
    await feed.caught_up()


def know_no_claim(client, monkeypatch):
    """Have a gateway publish as if it were another one, which does not know the claims so far."""

    async def unknown(_claim):
        pass

    monkeypatch.setattr(client.gateway.ingest._claims, "require_left", unknown)


class TestUpload:
    async def test_one_post_without_any_other_credential_stores_one_image(self, client):
        made = await make(client, client.key, kind="upload")
        assert made["method"] == "POST"
        response = await upload(client, made["url"])
        assert response.status_code == 201
        image = response.json()
        assert [each["id"] for each in await listed(client)] == [image["id"]]
        problem(await upload(client, made["url"]), 409, "link-used")
        problem(await client.post(made["url"], content=JPEG), 409, "link-used")
        got = await client.get(image["url"], headers=bearer(client.key))
        assert (got.status_code, len(got.content)) == (200, image["content_length"])

    async def test_the_bytes_alone_are_accepted_too(self, client):
        assert (await client.post(await link(client), content=JPEG)).status_code == 201

    async def test_it_stores_as_many_as_it_has_uses(self, client):
        url = await link(client, uses=3)
        statuses = [(await upload(client, url)).status_code for _ in range(5)]
        assert statuses == [201, 201, 201, 409, 409]

    async def test_an_upload_that_fails_uses_nothing(self, client):
        url = await link(client, max_bytes=200_000)
        problem(await upload(client, url, JPEG[:500]), 422, "invalid-image")
        problem(await upload(client, url, b"no image"), 415, "unsupported-format")
        problem(await upload(client, url, bytes(200_001)), 413, "body-too-large")
        problem(await client.post(url, files={"other": b"x"}), 422, "missing-file")
        assert (await upload(client, url)).status_code == 201

    async def test_used_up_is_known_before_the_body_is_read(self, client, monkeypatch):
        url = await link(client)
        assert (await upload(client, url)).status_code == 201
        monkeypatch.setattr(RequestBody, "receive", None)
        problem(await upload(client, url), 409, "link-used")

    async def test_many_at_once_store_one_and_write_one(self, client):
        url = await link(client)
        answers = await asyncio.gather(*(upload(client, url) for _ in range(6)))
        assert sorted(each.status_code for each in answers) == [201] + [409] * 5
        assert len(await announced(client)) == 1

    async def test_it_is_for_nothing_else(self, client):
        query = (await link(client)).partition("?")[2]
        for method, path in (("GET", "/images"), ("HEAD", "/images"), ("POST", "/links")):
            response = await client.request(method, f"{path}?{query}")
            assert response.status_code == 403

    async def test_it_ends(self, client):
        url = await link(client, expires_in_seconds=60)
        links = client.app_access.links
        now = links._clock()
        links._clock = lambda: now + 61
        problem(await upload(client, url), 403, "link-expired")

    async def test_an_upload_that_arrives_long_after_its_end_is_not_stored(self, client):
        url = await link(client, expires_in_seconds=60)
        claims = client.gateway.ingest._claims
        now = claims._clock()
        claims._clock = lambda: now + 60 + 3_600
        problem(await upload(client, url), 403, "link-expired")
        assert await announced(client) == []


class TestOptions:
    async def test_each_is_signed(self, client):
        url = await link(
            client,
            uses=2,
            max_bytes=50_000,
            formats=["png", "jpeg"],
            profile="small",
            metadata="keep",
            visibility="public",
            owner="key:AAAAAAAAAAA",
        )
        for change in (
            {"uses": "3"},
            {"max_bytes": "60000"},
            {"formats": "jpeg,png,webp"},
            {"profile": "original"},
            {"metadata": "strip"},
            {"visibility": "authenticated"},
            {"visibility": None},
            {"owner": "key:BBBBBBBBBBB"},
            {"by": "key:BBBBBBBBBBB"},
            {"expires": "9999999999"},
            {"link": "A" * 16},
            {"uses": None},
            {"max_bytes": None},
            {"formats": None},
            {"profile": None},
            {"metadata": None},
            {"owner": None},
            {"more": "x"},
        ):
            problem(await upload(client, changed(url, **change)), 403, "invalid-link")
        image = (await upload(client, url)).json()
        assert (image["profile"], image["owner"]) == ("small", "key:AAAAAAAAAAA")
        assert image["visibility"] == "public"

    async def test_a_form_cannot_differ(self, client):
        url = await link(client, profile="small", metadata="strip-gps")
        for field in ({"profile": "original"}, {"metadata": "keep"}, {"profile": "nonsense"}):
            detail = problem(await upload(client, url, **field), 422, "invalid-parameter")["detail"]
            assert "the link is for" in detail
        response = await upload(client, url, profile="small", metadata="strip-gps")
        assert response.status_code == 201

    async def test_what_the_link_leaves_open_is_the_server_s_default_and_not_the_client_s(
        self, client
    ):
        url = await link(client)
        problem(await upload(client, url, profile="original"), 422, "invalid-parameter")
        problem(await upload(client, url, metadata="keep"), 422, "invalid-parameter")
        problem(await upload(client, url, visibility="public"), 422, "invalid-parameter")
        problem(await upload(client, f"{url}&profile=original"), 403, "invalid-link")
        assert (await upload(client, url, profile="balanced")).json()["profile"] == "balanced"

    async def test_no_more_bytes_and_no_other_formats(self, client):
        url = await link(client, max_bytes=len(JPEG) - 1)
        detail = problem(await upload(client, url), 413, "body-too-large")["detail"]
        assert f"{len(JPEG) - 1:,}" in detail
        url = await link(client, formats=["png", "webp"])
        refusal = await upload(client, url)
        assert "Accepted are PNG, WebP." in problem(refusal, 415, "unsupported-format")["detail"]
        assert refusal.headers["accept"] == "image/png, image/webp"
        png = images.png(images.photo((40, 30)), private=False)
        assert (await upload(client, url, png)).status_code == 201

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            ({"expires_in_seconds": 3_601}, "less than or equal to 3600"),
            ({"uses": 0}, "greater than or equal to 1"),
            ({"uses": 10_001}, "less than or equal to 10000"),
            ({"max_bytes": 20_000_001}, "up to 20,000,000"),
            ({"formats": ["svg"]}, "formats"),
            ({"profile": "tiny"}, "profile"),
            ({"metadata": "some"}, "metadata"),
            ({"owner": ""}, "owner"),
            ({"owner": "a\nb"}, "owner"),
            ({"visibility": "all"}, "visibility"),
            ({"more": 1}, "more"),
        ],
        ids=str,
    )
    @pytest.mark.asyncio(loop_scope="module")
    async def test_what_is_not_allowed_cannot_be_made(self, shared_client, wanted, reason):
        response = await shared_client.post("/links", json={"kind": "upload"} | wanted)
        assert reason in problem(response, 422, "invalid-parameter")["detail"]

    async def test_a_profile_that_the_server_does_not_allow_cannot_be_made(self, gateways):
        client = await gateways(imaging={"profiles": "balanced", "workers": 1})
        body = {"kind": "upload", "profile": "original"}
        problem(await client.post("/links", json=body), 422, "invalid-parameter")


class TestMaker:
    async def test_needs_the_right_to_upload_and_admin_for_another_owner(self, client, tmp_path):
        writer, reader = make_key(tmp_path, "images:write"), make_key(tmp_path, "images:read")
        client.app_access._keys._looked = -1e9
        name = f"key:{writer.split('_')[1]}"
        for key, body, status in (
            (reader, {}, 403),
            (writer, {}, 201),
            (writer, {"owner": name}, 201),
            (writer, {"owner": "key:AAAAAAAAAAA"}, 403),
            (client.key, {"owner": "key:AAAAAAAAAAA"}, 201),
        ):
            with structlog.testing.capture_logs() as lines:
                await make(client, key, status, kind="upload", **body)
            made = [each for each in lines if each["event"] == "link_made"]
            denied = [each for each in lines if each["event"] == "access_denied"]
            assert [each["options"] for each in made] == [body] * (status == 201)
            assert [each["code"] for each in denied] == ["insufficient-scope"] * (status == 403)

    async def test_shares_count_the_address_and_the_log_names_the_owner(self, client, monkeypatch):
        seen = []
        reserve = client.gateway.ingest._budget.reserve

        async def noted(who, *amounts):
            seen.append(who)
            return await reserve(who, *amounts)

        monkeypatch.setattr(client.gateway.ingest._budget, "reserve", noted)
        assert (await upload(client, await link(client))).status_code == 201
        assert seen == ["127.0.0.1"]


class TestClaims:
    """A claim that comes second in the log: of another replica, which did not know the first."""

    async def test_is_refused_and_its_image_never_shown(self, client, monkeypatch):
        url = await link(client)
        first = (await upload(client, url)).json()
        know_no_claim(client, monkeypatch)
        problem(await upload(client, url), 409, "link-used")
        winner, loser = await announced(client)
        assert winner.image_id == first["id"]
        assert [each["id"] for each in await listed(client)] == [first["id"]]
        for path in (f"/images/{loser.image_id}", f"/images/{loser.image_id}/metadata"):
            refusal = await client.get(path, headers=bearer(client.key))
            problem(refusal, 404, "image-not-found")

    async def test_a_rebuilt_catalog_decides_alike(self, client, monkeypatch):
        url, other = await link(client, uses=2), await link(client)
        know_no_claim(client, monkeypatch)
        statuses = [
            (await upload(client, each)).status_code for each in (url, other, url, other, url)
        ]
        assert statuses == [201, 201, 201, 409, 409]
        before = await listed(client)
        assert len(before) == 3
        await rebuild(client, monkeypatch)
        assert (await listed(client))[1:] == before
        for each in (url, other):
            problem(await upload(client, each), 409, "link-used")

    async def test_an_image_that_was_deleted_still_counts_where_its_event_is_erased(
        self, client, monkeypatch
    ):
        url = await link(client)
        image = (await upload(client, url)).json()
        deleted = await client.delete(image["url"], headers=bearer(client.key))
        assert deleted.status_code == 204
        await rebuild(client, monkeypatch)
        problem(await upload(client, url), 409, "link-used")


class TestWithoutAuthentication:
    async def test_links_work_too(self, gateways):
        client = await gateways()
        url = await link(client, max_bytes=50_000, owner="key:AAAAAAAAAAA")
        problem(await upload(client, url, profile="original"), 422, "invalid-parameter")
        assert (await upload(client, url)).status_code == 201
        problem(await upload(client, url), 409, "link-used")


class TestFormat:
    async def test_head_and_event_say_the_claim_at_a_version_that_older_ones_refuse(self, client):
        made = await make(client, client.key, kind="upload", uses=7, visibility="public")
        image = (await upload(client, made["url"])).json()
        [event] = await announced(client)
        assert (event.claim.link, event.claim.uses) == (made["link"], 7)
        where = address.parse(image["id"]).position
        head = (await client.gateway.log.read(IMAGES, where)).record
        assert head.header("imagegate-version") == b"2"
        assert head.header("imagegate-claim") == (
            f"{made['link']},7,{event.claim.expires_at}".encode()
        )
        public, headers = "/images?visibility=public", bearer(client.key)
        plain = await client.post(public, content=JPEG, headers=headers)
        where = address.parse(plain.json()["id"]).position
        head = (await client.gateway.log.read(IMAGES, where)).record
        assert head.header("imagegate-version") == b"1"
        assert head.header("imagegate-claim") is None
