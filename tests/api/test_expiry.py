"""Images that are born with an end: hidden everywhere from then on, and deleted by the sweep."""

import asyncio
import re
import time
from datetime import datetime

import pytest

from app.changes.sweep import Sweeper
from app.events.event import ImageDeleted, decode
from app.log import EVENTS, Position
from app.records.signature import NO_SIGNATURES
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process, problem
from tests.support.links import make

JPEG = images.jpeg(images.photo((40, 30)))
HOUR = 3_600


class Clock:
    """The clock of the gateway, which a test sets forward."""

    def __init__(self, monkeypatch):
        self._real, self.ahead_seconds = time.time, 0
        monkeypatch.setattr(time, "time", lambda: self._real() + self.ahead_seconds)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


async def upload(client, status=201, **fields):
    answer = await client.post("/images", files={"file": ("img.jpg", JPEG)}, data=fields)
    assert answer.status_code == status, answer.text
    return answer.json()


async def listed(client):
    return [each["id"] for each in (await client.get("/images")).json()["images"]]


async def sweep(client, **options):
    parts = client.gateway
    sweeper = Sweeper(parts.log, parts.catalog, parts.feed, NO_SIGNATURES, **options)
    return await sweeper.sweep()


async def last_event(client):
    log = client.gateway.log
    end = (await log.bounds(EVENTS, 0)).end
    return decode((await log.read(EVENTS, Position(0, end - 1))).record)


class TestHidden:
    async def test_from_then_on_it_is_gone_everywhere_and_what_stays_is_untouched(
        self, client, clock
    ):
        stays, ends = await upload(client), await upload(client, expires_in=HOUR)
        assert "expires_at" not in stays
        left = time.time() + HOUR
        assert abs(datetime.fromisoformat(ends["expires_at"]).timestamp() - left) < 5
        assert await listed(client) == [ends["id"], stays["id"]]
        assert (await client.get(f"{ends['url']}/metadata")).json() == ends
        clock.ahead_seconds = HOUR - 30
        assert (await client.get(ends["url"])).status_code == 200
        clock.ahead_seconds = HOUR + 5
        for url in (ends["url"], f"{ends['url']}/metadata"):
            told = problem(await client.get(url), 410, "image-gone")
        assert told["detail"] == "The image has expired."
        assert (await client.head(ends["url"])).status_code == 410
        for headers in ({"if-none-match": "*"}, {"range": "bytes=0-9"}):
            problem(await client.get(ends["url"], headers=headers), 410, "image-gone")
        assert await listed(client) == [stays["id"]]
        facts = await client.gateway.catalog.facts(-1, 10)
        assert [fact.image is None for fact in facts] == [False, True]
        assert (await client.get(stays["url"])).status_code == 200

    async def test_no_cache_keeps_it_longer(self, gateways, clock):
        client = await gateways(access={"read": "public"})
        ends, stays = await upload(client, expires_in=HOUR), await upload(client)
        assert (await client.get(stays["url"])).headers["cache-control"] == (
            "public, max-age=31536000, immutable"
        )
        clock.ahead_seconds = 600
        for method in ("GET", "HEAD"):
            told = await client.request(method, ends["url"])
            age = int(re.search(r"max-age=(\d+)", told.headers["cache-control"])[1])
            assert HOUR - 610 <= age <= HOUR - 600
        told = await client.get(ends["url"], headers={"if-none-match": "*"})
        assert (told.status_code, told.headers["cache-control"]) == (
            304,
            (await client.get(ends["url"])).headers["cache-control"],
        )
        far = await upload(client, expires_in=10 * 365 * 86_400)
        assert "max-age=31536000" in (await client.get(far["url"])).headers["cache-control"]


class TestSweep:
    async def test_it_deletes_what_has_expired_once_clocks_agree(self, client, clock):
        await upload(client)
        ends = await upload(client, expires_in=HOUR)
        clock.ahead_seconds = HOUR + 30
        assert await sweep(client) == 0
        clock.ahead_seconds = HOUR + 90
        assert await sweep(client) == 1
        assert await last_event(client) == ImageDeleted(ends["id"])
        told = problem(await client.get(ends["url"]), 410, "image-gone")
        assert told["detail"] == "The image was deleted."
        assert await sweep(client) == 0
        # By any clock, and without the head.
        clock.ahead_seconds = 0
        problem(await client.get(ends["url"]), 410, "image-gone")

    async def test_a_gateway_does_it_by_itself(self, client, clock):
        ends = await upload(client, expires_in=HOUR)
        parts = client.gateway
        sweeper = Sweeper(parts.log, parts.catalog, parts.feed, NO_SIGNATURES, period_seconds=0.01)
        sweeper.start()
        clock.ahead_seconds = 2 * HOUR
        async with asyncio.timeout(10):
            while not await parts.catalog.is_deleted(ends["id"]):
                await asyncio.sleep(0.01)
        await sweeper.stop()

    async def test_more_than_fit_one_append_are_all_deleted(self, client, clock, monkeypatch):
        monkeypatch.setattr("app.changes.sweep._AT_ONCE", 2)
        for _ in range(5):
            await upload(client, expires_in=HOUR)
        clock.ahead_seconds = 2 * HOUR
        assert await sweep(client) == 5
        assert await client.gateway.catalog.expired(time.time(), 10) == []

    async def test_the_embedded_log_erases_it(self, client, clock):
        ends = await upload(client, expires_in=HOUR)
        content = (await client.get(ends["url"])).content
        folder = client.gateway.log.path.parent
        clock.ahead_seconds = 2 * HOUR
        await sweep(client)
        assert not any(
            content[-200:-50] in path.read_bytes() for path in folder.rglob("*") if path.is_file()
        )

    async def test_one_that_expired_can_be_deleted_before_the_sweep(self, client, clock):
        ends = await upload(client, expires_in=HOUR)
        clock.ahead_seconds = HOUR + 1
        assert (await client.delete(ends["url"])).status_code == 204
        assert await last_event(client) == ImageDeleted(ends["id"])


class TestOption:
    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", " 5", "5e3", "9" * 30, "٣"])
    async def test_what_is_no_number_of_seconds_is_refused(self, client, value):
        told = await upload(client, 422, expires_in=value)
        assert told["code"] == "invalid-parameter"
        assert told["detail"].startswith("expires_in: ")
        assert await listed(client) == []

    async def test_it_can_be_in_the_query(self, client):
        answer = await client.post("/images?expires_in=60", content=JPEG)
        assert answer.json()["expires_at"]

    async def test_a_server_has_a_default_and_a_maximum(self, tmp_path):
        kept_for = {"expires_in_seconds": 60, "max_expires_in_seconds": 90}
        async with in_process(tmp_path, upload=kept_for) as client:
            for fields, kept in (({}, 60), ({"expires_in": 30}, 30), ({"expires_in": 90}, 90)):
                image = await upload(client, **fields)
                info = (await client.gateway.catalog.entry(image["id"])).info
                assert kept - 5 <= info.expires_at - time.time() <= kept + 1
            told = await upload(client, 422, expires_in=91)
            assert "from 1 to 90" in told["detail"]

    async def test_with_a_maximum_alone_nothing_is_kept_longer(self, tmp_path):
        async with in_process(tmp_path, upload={"max_expires_in_seconds": 90}) as client:
            info = (await client.gateway.catalog.entry((await upload(client))["id"])).info
            assert info.expires_at - time.time() <= 91

    async def test_a_link_may_fix_it(self, tmp_path):
        key = make_key(tmp_path, "admin")
        async with in_process(tmp_path) as client:
            link = await make(client, key, kind="upload", uses=2, expires_in=60)
            image = (await client.post(link["url"], content=JPEG)).json()
            told = await client.get(f"{image['url']}/metadata", headers=bearer(key))
            assert told.json()["expires_at"] == image["expires_at"]
            url = f"{link['url']}&expires_in=61"
            assert (await client.post(url, content=JPEG)).status_code in (401, 403, 422)
            form = {"files": {"file": ("a.jpg", JPEG)}, "data": {"expires_in": "61"}}
            problem(await client.post(link["url"], **form), 422, "invalid-parameter")
