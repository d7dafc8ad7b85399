"""`GET`, `HEAD` and `DELETE /images/{id}`, and `/images/{id}/metadata`."""

import base64
import dataclasses
import hashlib
import random
import urllib.parse

import pytest
import pytest_asyncio

from app.api.body import clean_filename
from app.api.image_headers import content_disposition
from app.catalog.catalog import Catalog
from app.delivery.cache import RecordCache
from app.delivery.delivery import Delivery, StoredImage
from app.errors import InternalError
from app.feed.feed import Feed
from app.log import IMAGES, Position
from app.log.sqlite.log import SqliteLog
from app.records import image as records
from app.records.address import Address, parse
from tests.support import images
from tests.support.facts import info
from tests.support.in_process import in_process, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory):
    """One gateway for the whole module: it takes its time to start."""
    async with in_process(tmp_path_factory.mktemp("gateway")) as client:
        yield client


class Picture:
    """An image that was uploaded, and what the answers said."""

    def __init__(self, uploaded, downloaded):
        self.json = uploaded.json()
        self.id, self.url = self.json["id"], self.json["url"]
        self.content = downloaded.content
        self.etag = uploaded.headers["etag"]
        self.length = len(self.content)


async def store(client, name="Küste.jpeg", seed=1):
    uploaded = await client.post(
        "/images", files={"file": (name, images.jpeg(images.photo(seed=seed)))}
    )
    assert uploaded.status_code == 201, uploaded.text
    return Picture(uploaded, await client.get(uploaded.headers["location"]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def picture(client):
    return await store(client)


class TestHeaders:
    async def test_a_download_has_every_header_of_an_image_that_never_changes(
        self, client, picture
    ):
        response = await client.get(picture.url)
        digest = hashlib.sha256(response.content)
        headers = dict(response.headers)
        headers.pop("x-request-id")
        assert response.status_code == 200
        assert headers == {
            "content-type": "image/jpeg",
            "content-length": str(len(response.content)),
            "etag": f'"{digest.hexdigest()}"',
            "repr-digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            "cache-control": "public, max-age=31536000, immutable",
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
            "content-disposition": (
                "inline; filename=\"Kuste.jpg\"; filename*=UTF-8''K%C3%BCste.jpg"
            ),
        }

    async def test_head_answers_as_a_download_without_the_bytes(self, client, picture):
        got, head = await client.get(picture.url), await client.head(picture.url)
        assert head.status_code == 200
        assert head.content == b""
        for headers in (got.headers, head.headers):
            headers.pop("x-request-id")
        assert head.headers == got.headers

    @pytest.mark.parametrize(
        "accept", ["application/problem+json", "text/html", "image/webp;q=0.1", ""]
    )
    async def test_an_image_is_served_whatever_is_accepted(self, client, picture, accept):
        response = await client.get(picture.url, headers={"accept": accept})
        assert response.content == picture.content

    async def test_the_type_of_each_format_is_its_own(self, client):
        for data, media_type, extension in (
            (images.png(), "image/png", "png"),
            (images.webp(), "image/webp", "webp"),
            (images.gif(), "image/gif", "gif"),
        ):
            url = (await client.post("/images", content=data)).json()["url"]
            response = await client.get(url)
            assert response.headers["content-type"] == media_type
            name = f'filename="{url.removeprefix("/images/")}.{extension}"'
            assert name in response.headers["content-disposition"]


class TestPreconditions:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        "field",
        ["{}", "W/{}", "*", ' "other" , {}', 'W/"other",W/{}', '"a,b", {}', '"", {}'],
    )
    async def test_a_client_that_has_the_image_is_told_so(self, client, picture, method, field):
        headers = {"if-none-match": field.format(picture.etag), "range": "bytes=0-1"}
        response = await client.request(method, picture.url, headers=headers)
        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["etag"] == picture.etag
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "content-length" not in response.headers
        assert "content-type" not in response.headers

    @pytest.mark.parametrize("field", ['"other"', "", "nonsense", 'W/"other"', '"*"'])
    async def test_a_client_with_another_image_gets_this_one(self, client, picture, field):
        response = await client.get(picture.url, headers={"if-none-match": field})
        assert response.status_code == 200
        assert response.content == picture.content

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("field", ["{}", "*", '"other", {}'])
    async def test_if_match_lets_the_image_it_names_pass(self, client, picture, method, field):
        headers = {"if-match": field.format(picture.etag)}
        assert (await client.request(method, picture.url, headers=headers)).status_code == 200

    @pytest.mark.parametrize("field", ['"other"', "W/{}", "", '"*"'])
    async def test_if_match_refuses_any_other_and_comes_first(self, client, picture, field):
        headers = {
            "if-match": field.format(picture.etag),
            "if-none-match": picture.etag,
            "range": "bytes=0-1",
        }
        response = await client.get(picture.url, headers=headers)
        assert picture.etag in problem(response, 412, "precondition-failed")["detail"]
        assert (await client.head(picture.url, headers=headers)).status_code == 412

    async def test_dates_decide_nothing(self, client, picture):
        headers = {
            "if-modified-since": "Sat, 01 Jan 2050 00:00:00 GMT",
            "if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT",
        }
        assert (await client.get(picture.url, headers=headers)).status_code == 200


class TestRanges:
    @pytest.mark.parametrize(
        ("field", "start", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=100-", 100, None),
            ("bytes=-1", -1, None),
            ("bytes=-100", -100, None),
            ("bytes=-99999999", 0, None),
            ("bytes=10-99999999", 10, None),
            ("bytes=0-", 0, None),
            ("BYTES=1-2", 1, 3),
            (" bytes = 1 - 2 ", 1, 3),
        ],
    )
    async def test_one_range_is_answered_with_its_bytes(self, client, picture, field, start, end):
        response = await client.get(picture.url, headers={"range": field})
        part = picture.content[start:end]
        first = start if start >= 0 else picture.length + start
        assert response.status_code == 206
        assert response.content == part
        assert response.headers["content-length"] == str(len(part))
        expected = f"bytes {first}-{first + len(part) - 1}/{picture.length}"
        assert response.headers["content-range"] == expected
        whole = await client.get(picture.url)
        for name in ("etag", "repr-digest", "cache-control", "content-type", "accept-ranges"):
            assert response.headers[name] == whole.headers[name]

    @pytest.mark.parametrize(
        "field",
        [
            "bytes=0-1,5-6",
            "bytes=0-1, -5",
            "bytes=5-2",
            "bytes=-",
            "bytes=",
            "bytes",
            "bytes=a-b",
            "bytes=-1-2",
            "bytes=+1-2",
            "bytes=1-2x",
            "bytes=0x1-2",
            "seconds=0-1",
            "0-1",
            "",
            "bytes=\u0661-\u0662",
            "bytes=" + "9" * 5000 + "-",
            "bytes=0-" + "9" * 5000,
            "bytes=-" + "9" * 5000,
        ],
    )
    async def test_several_ranges_and_malformed_ones_are_ignored(self, client, picture, field):
        response = await client.get(picture.url, headers={"range": field.encode()})
        assert response.status_code == 200
        assert response.content == picture.content
        assert "content-range" not in response.headers

    @pytest.mark.parametrize("field", ["bytes={}-", "bytes={}-{}", "bytes=999999999-", "bytes=-0"])
    async def test_a_range_outside_the_image_says_how_long_it_is(self, client, picture, field):
        headers = {"range": field.format(picture.length, picture.length + 5)}
        response = await client.get(picture.url, headers=headers)
        problem(response, 416, "range-not-satisfiable")
        assert response.headers["content-range"] == f"bytes */{picture.length}"

    async def test_head_has_no_ranges(self, client, picture):
        for field in ("bytes=0-1", "bytes=999999999-"):
            response = await client.head(picture.url, headers={"range": field})
            assert response.status_code == 200
            assert response.headers["content-length"] == str(picture.length)

    @pytest.mark.parametrize(
        ("condition", "status"),
        [
            ("{}", 206),
            ("W/{}", 200),
            ('"other"', 200),
            ("Sat, 01 Jan 2050 00:00:00 GMT", 200),
            ("", 200),
        ],
    )
    async def test_if_range_gives_the_part_only_of_the_image_it_names(
        self, client, picture, condition, status
    ):
        headers = {"range": "bytes=1-5", "if-range": condition.format(picture.etag)}
        response = await client.get(picture.url, headers=headers)
        assert response.status_code == status
        assert response.content == (picture.content[1:6] if status == 206 else picture.content)

    async def test_parts_put_together_are_the_image(self, client, picture):
        step, whole = 777, b""
        while len(whole) < picture.length:
            headers = {"range": f"bytes={len(whole)}-{len(whole) + step - 1}"}
            whole += (await client.get(picture.url, headers=headers)).content
        assert whole == picture.content


@pytest.mark.parametrize(
    ("given", "plain", "encoded"),
    [
        ("a.jpg", "a.png", "a.png"),
        ("a.tar.gz", "a.tar.png", "a.tar.png"),
        ("a", "a.png", "a.png"),
        ("C:\\photos\\a.jpg", "a.png", "a.png"),
        ("../../etc/passwd", "passwd.png", "passwd.png"),
        ('a"; filename="b.exe', "a__ filename=_b.png", "a%22%3B%20filename%3D%22b.png"),
        ("a\r\nSet-Cookie: x=y.jpg", "aSet-Cookie: x=y.png", "aSet-Cookie%3A%20x%3Dy.png"),
        ("a\x00b\x7fc\x85.jpg", "abc.png", "abc.png"),
        ("50%2F.jpg", "50_2F.png", "50%252F.png"),
        ("a\uff0fb\uff02\uff3c.jpg", "a_b__.png", "a%EF%BC%8Fb%EF%BC%82%EF%BC%BC.png"),
        ("a'b*.jpg", "a'b*.png", "a%27b%2A.png"),
        (".htaccess", "htaccess.png", "htaccess.png"),
        ("\U0001f4f7.jpg", None, "%F0%9F%93%B7.png"),
    ],
)
async def test_a_hostile_file_name_is_a_safe_header(given, plain, encoded):
    field = content_disposition(clean_filename(given.encode()), "someid", ".png")
    field.encode("ascii")
    assert "\r" not in field
    assert "\n" not in field
    before, _, after = field.partition("; filename*=UTF-8''")
    assert after == encoded
    assert before.startswith('inline; filename="')
    name = before.removeprefix('inline; filename="').removesuffix('"')
    assert name == ("someid.png" if plain is None else plain)
    assert urllib.parse.unquote(after).endswith(".png")


class TestUnknown:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
    @pytest.mark.parametrize(
        "image_id",
        [
            "x",
            "a" * 31,
            "a" * 33,
            "A" * 32,
            "a" * 31 + "1",
            "a" * 31 + "%0a",
            "%00" * 32,
            "%2e%2e%2fhealth",
            "a" * 32,
            str(Address(Position(11, 2**48 - 1), bytes(12))),
            str(Address(Position(12, 0), bytes(12))),
            str(Address(Position(65_535, 0), bytes(12))),
        ],
    )
    async def test_an_id_of_no_image_is_not_found(self, client, method, image_id):
        response = await client.request(method, f"/images/{image_id}")
        assert response.status_code == 404
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/problem+json"

    async def test_all_unknown_images_look_alike(self, client, picture):
        where = parse(picture.id)
        unknown = ["x" * 32, "1" * 32, str(dataclasses.replace(where, cookie=bytes(12)))]
        details = set()
        for image_id in unknown:
            for path in (f"/images/{image_id}", f"/images/{image_id}/metadata"):
                body = problem(await client.get(path), 404, "image-not-found")
                details.add(body["detail"])
        assert len(details) == 1

    async def test_a_wrong_cookie_is_not_found_though_the_record_is_cached(self, client, picture):
        where = parse(picture.id)
        guessed = where.cookie[:-1] + bytes([where.cookie[-1] ^ 1])
        await client.get(picture.url)
        assert where.position in client.gateway.delivery._cache._records
        wrong = str(dataclasses.replace(where, cookie=guessed))
        problem(await client.get(f"/images/{wrong}"), 404, "image-not-found")
        problem(await client.delete(f"/images/{wrong}"), 404, "image-not-found")
        assert (await client.get(picture.url)).content == picture.content

    async def test_a_record_of_somebody_else_is_no_image(self, client):
        cookie = bytes(range(12))
        view = memoryview(b"not an image")
        head = records.head_record(cookie, view, info(), 100, ())
        for headers in ((), (("imagegate-version", b"1"),)):
            stranger = dataclasses.replace(head, headers=headers)
            [position] = await client.gateway.log.append(IMAGES, [stranger])
            response = await client.get(f"/images/{Address(position, cookie)}")
            problem(response, 404, "image-not-found")

    async def test_an_image_of_a_newer_version_is_left_to_newer_replicas(self, client):
        cookie = bytes(range(12))
        head = records.head_record(cookie, memoryview(b"x"), info(), 100, ())
        newer = dataclasses.replace(head, headers=(("imagegate-version", b"2"),))
        [position] = await client.gateway.log.append(IMAGES, [newer])
        response = await client.get(f"/images/{Address(position, cookie)}")
        assert problem(response, 503, "newer-version")["retryable"] is True
        assert int(response.headers["retry-after"]) > 0


class TestMetadata:
    async def test_it_is_the_json_of_the_upload(self, client, picture):
        response = await client.get(f"{picture.url}/metadata")
        assert response.status_code == 200
        assert response.json() == picture.json
        assert response.json()["sequence"] is not None

    async def test_an_image_without_its_event_is_not_there(self, client):
        cookie = bytes(12)
        head = records.head_record(cookie, memoryview(b"x"), info(), 100, ())
        [position] = await client.gateway.log.append(IMAGES, [head])
        response = await client.get(f"/images/{Address(position, cookie)}/metadata")
        problem(response, 404, "image-not-found")


class TestDelete:
    async def test_it_hides_the_image_at_once_and_for_ever(self, client):
        gone, kept = await store(client, seed=2), await store(client, seed=3)
        response = await client.delete(gone.url)
        assert (response.status_code, response.content) == (204, b"")
        for _ in range(2):
            problem(await client.get(gone.url), 410, "image-gone")
            problem(await client.get(f"{gone.url}/metadata"), 410, "image-gone")
            assert (await client.head(gone.url)).status_code == 410
        listed = [
            image["id"] for image in (await client.get("/images?limit=1000")).json()["images"]
        ]
        assert gone.id not in listed
        assert kept.id in listed
        assert (await client.get(kept.url)).content == kept.content

    async def test_a_client_that_has_it_learns_that_it_is_gone(self, client):
        gone = await store(client, seed=4)
        await client.delete(gone.url)
        response = await client.get(gone.url, headers={"if-none-match": gone.etag})
        problem(response, 410, "image-gone")

    async def test_deleting_again_changes_nothing(self, client):
        gone = await store(client, seed=5)
        await client.delete(gone.url)
        sequence = client.gateway.feed.sequence
        for _ in range(2):
            assert (await client.delete(gone.url)).status_code == 204
        assert client.gateway.feed.sequence == sequence

    async def test_the_embedded_log_erases_the_bytes(self, client):
        gone = await store(client, seed=6)
        folder = client.gateway.log.path.parent
        marker = gone.content[-200:-50]
        assert any(marker in path.read_bytes() for path in folder.rglob("*") if path.is_file())
        await client.delete(gone.url)
        for path in folder.rglob("*"):
            assert not path.is_file() or marker not in path.read_bytes()

    async def test_an_image_whose_bytes_have_expired_is_gone_and_can_be_unlisted(self, tmp_path):
        async with in_process(tmp_path, delivery={"cache_bytes": 0}) as client:
            expired = await store(client)
            where = parse(expired.id).position
            await client.gateway.log.trim(IMAGES, where.partition, where.offset + 1)
            problem(await client.get(expired.url), 410, "image-gone")
            assert (await client.delete(expired.url)).status_code == 204
            assert (await client.get("/images")).json()["images"] == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    log, catalog = SqliteLog(folder, image_partitions=3), Catalog(folder / "catalog.db")
    await log.start()
    feed = Feed(log, catalog)
    await feed.start()
    await feed.caught_up()
    yield log, Delivery(log, RecordCache(log, IMAGES, 0), catalog, feed, pool=None, budget=None)
    await feed.stop()
    await catalog.close()
    await log.stop()


class TestManyRecords:
    """Images of more records than one, straight from the log: no worker takes part."""

    async def append(self, log, length, size):
        data, cookie = random.Random(length).randbytes(length), bytes(range(12))
        chunks = records.chunk_records(cookie, memoryview(data), size)
        places = await log.append(IMAGES, chunks) if chunks else []
        described = info(content_length=length)
        head = records.head_record(cookie, memoryview(data), described, size, places)
        [position] = await log.append(IMAGES, [head])
        return data, str(Address(position, cookie)), places

    @pytest.mark.parametrize(
        ("length", "size"), [(1, 1), (5, 10), (10, 10), (11, 10), (95, 10), (300_000, 100_000)]
    )
    async def test_every_range_is_cut_from_the_right_chunks(self, parts, length, size):
        log, delivery = parts
        data, image_id, _ = await self.append(log, length, size)
        image = await delivery.find(image_id)
        chance = random.Random(size)
        edges = {0, 1, size - 1, size, size + 1, length - 1, length}
        edges |= {chance.randrange(length) for _ in range(8)}
        edges = sorted(edge for edge in edges if 0 <= edge <= length)
        for start in edges:
            for end in (edge for edge in edges if edge > start):
                pieces = [piece async for piece in await delivery.open(image, start, end)]
                assert b"".join(pieces) == data[start:end]
                assert all(0 < len(piece) <= 65_536 for piece in pieces)

    async def test_only_the_chunks_of_a_range_are_read_and_only_as_they_are_taken(
        self, parts, monkeypatch
    ):
        log, delivery = parts
        _, image_id, places = await self.append(log, 1000, 100)
        image = await delivery.find(image_id)
        reads, read = [], log.read

        async def spy(topic, position):
            reads.append(position)
            return await read(topic, position)

        monkeypatch.setattr(log, "read", spy)
        stream = await delivery.open(image, 350, 750)
        assert reads == [places[2]]
        await anext(stream)
        assert reads == [places[2]]
        await anext(stream)
        assert reads == places[2:4]
        await stream.aclose()
        assert reads == places[2:4]

    async def test_a_chunk_of_another_image_is_never_served(self, parts):
        log, delivery = parts
        _, image_id, _ = await self.append(log, 300, 100)
        _, _, others = await self.append(log, 400, 200)
        image = await delivery.find(image_id)
        chunks = (image.head.chunks[0], others[0])
        mixed = StoredImage(
            image.where, image.first, dataclasses.replace(image.head, chunks=chunks)
        )
        with pytest.raises(InternalError):
            [piece async for piece in await delivery.open(mixed, 0, 300)]


async def test_a_download_that_breaks_off_is_not_taken_for_whole(client, picture, monkeypatch):
    async def broken(*_):
        yield picture.content[:10]
        raise InternalError("The image's records do not belong together.")

    monkeypatch.setattr(client.gateway.delivery, "_stream", broken)
    # What is one piece is answered once it is there.
    problem(await client.get(picture.url), 500, "internal-error")
    monkeypatch.setattr("app.api.downloads.PIECE_BYTES", len(picture.content) - 1)
    # The framework passes it on, and the server cuts the connection.
    with pytest.raises(RuntimeError, match="response already started"):
        await client.get(picture.url)
