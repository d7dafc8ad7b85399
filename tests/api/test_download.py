"""`GET` and `HEAD /images/{id}`: the headers, unknown images, and downloads that fail."""

import asyncio
import base64
import dataclasses
import hashlib
import random
import urllib.parse

import pytest

from app.api.form import clean_filename
from app.api.image_headers import content_disposition
from app.errors import ImageNotFoundError, LogUnavailableError
from app.log import IMAGES, Position
from app.records import image as records
from app.records.address import Address, parse
from tests.support import images
from tests.support.facts import info
from tests.support.in_process import problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestHeaders:
    async def test_a_download_has_every_header_of_an_image_that_never_changes(
        self, shared_client, picture
    ):
        response = await shared_client.get(picture.url)
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
            "content-security-policy": "sandbox; default-src 'none'",
            "cross-origin-resource-policy": "same-origin",
            "content-disposition": (
                "inline; filename=\"Kuste.jpg\"; filename*=UTF-8''K%C3%BCste.jpg"
            ),
        }

    async def test_head_answers_as_a_download_without_the_bytes(self, shared_client, picture):
        got, head = await shared_client.get(picture.url), await shared_client.head(picture.url)
        assert head.status_code == 200
        assert head.content == b""
        for headers in (got.headers, head.headers):
            headers.pop("x-request-id")
        assert head.headers == got.headers

    @pytest.mark.parametrize(
        "accept", ["application/problem+json", "text/html", "image/webp;q=0.1", ""]
    )
    async def test_an_image_is_served_whatever_is_accepted(self, shared_client, picture, accept):
        response = await shared_client.get(picture.url, headers={"accept": accept})
        assert response.content == picture.content

    async def test_the_type_of_each_format_is_its_own(self, shared_client):
        for data, content_type, extension in (
            (images.png(), "image/png", "png"),
            (images.webp(), "image/webp", "webp"),
            (images.gif(), "image/gif", "gif"),
        ):
            url = (await shared_client.post("/images", content=data)).json()["url"]
            response = await shared_client.get(url)
            assert response.headers["content-type"] == content_type
            name = f'filename="{url.removeprefix("/images/")}.{extension}"'
            assert name in response.headers["content-disposition"]


@pytest.mark.parametrize(
    ("given", "plain", "encoded"),
    [
        ("a.jpg", "a.png", "a.png"),
        ("a.JPEG", "a.png", "a.png"),
        ("a.tar.gz", "a.tar.gz.png", "a.tar.gz.png"),
        ("Screenshot at 10.30.45", "Screenshot at 10.30.45.png", "Screenshot%20at%2010.30.45.png"),
        ("a.jpg.heic", "a.jpg.png", "a.jpg.png"),
        ("a", "a.png", "a.png"),
        ("C:\\photos\\a.jpg", "a.png", "a.png"),
        ("../../etc/passwd", "passwd.png", "passwd.png"),
        ('a"; filename="b.exe', "a__ filename=_b.exe.png", "a%22%3B%20filename%3D%22b.exe.png"),
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
    field = content_disposition(clean_filename(given), "someid", ".png")
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
    async def test_an_id_of_no_image_is_not_found(self, shared_client, method, image_id):
        response = await shared_client.request(method, f"/images/{image_id}")
        assert response.status_code == 404
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/problem+json"

    async def test_all_unknown_images_look_alike(self, shared_client, picture):
        where = parse(picture.id)
        unknown = ["x" * 32, "1" * 32, str(dataclasses.replace(where, cookie=bytes(12)))]
        details = set()
        for image_id in unknown:
            for path in (f"/images/{image_id}", f"/images/{image_id}/metadata"):
                body = problem(await shared_client.get(path), 404, "image-not-found")
                details.add(body["detail"])
        assert len(details) == 1

    async def test_a_wrong_cookie_is_not_found_though_the_record_is_cached(
        self, shared_client, picture, monkeypatch
    ):
        where = parse(picture.id)
        guessed = where.cookie[:-1] + bytes([where.cookie[-1] ^ 1])

        async def away(*_):
            raise LogUnavailableError("A cached record is not read again.")

        with monkeypatch.context() as patched:
            patched.setattr(shared_client.gateway.log, "read", away)
            assert (await shared_client.get(picture.url)).content == picture.content
        wrong = str(dataclasses.replace(where, cookie=guessed))
        problem(await shared_client.get(f"/images/{wrong}"), 404, "image-not-found")
        problem(await shared_client.delete(f"/images/{wrong}"), 404, "image-not-found")
        assert (await shared_client.get(picture.url)).content == picture.content

    async def test_a_record_of_another_producer_is_no_image(self, shared_client):
        cookie = bytes(range(12))
        view = memoryview(b"not an image")
        head = records.head_record(cookie, view, info(), 100, ())
        for headers in ((), (("imagegate-version", b"1"),)):
            stranger = dataclasses.replace(head, headers=headers)
            [position] = await shared_client.gateway.log.append(IMAGES, [stranger])
            response = await shared_client.get(f"/images/{Address(position, cookie)}")
            problem(response, 404, "image-not-found")

    async def test_an_image_of_a_newer_version_is_left_to_newer_replicas(self, shared_client):
        cookie = bytes(range(12))
        head = records.head_record(cookie, memoryview(b"x"), info(), 100, ())
        version = b"%d" % (records.VERSION + 1)
        newer = dataclasses.replace(head, headers=(("imagegate-version", version),))
        [position] = await shared_client.gateway.log.append(IMAGES, [newer])
        response = await shared_client.get(f"/images/{Address(position, cookie)}")
        assert problem(response, 503, "newer-version")["retryable"] is True
        assert int(response.headers["retry-after"]) > 0


class TestBreakingOff:
    """A download whose records do not fit its head."""

    async def append(self, shared_client, value, size, places):
        cookie = bytes(12)
        described = info(content_length=100_000)
        head = records.head_record(cookie, memoryview(value), described, size, places)
        [position] = await shared_client.gateway.log.append(IMAGES, [head])
        return f"/images/{Address(position, cookie)}"

    async def test_before_the_first_byte_it_is_a_problem(self, shared_client):
        url = await self.append(shared_client, bytes(10), 100_000, ())
        response = await shared_client.get(url, headers={"range": "bytes=0-99"})
        problem(response, 404, "image-not-found")

    async def test_after_the_first_byte_it_is_cut_off(self, shared_client):
        chunk = records.chunk_records(bytes(range(12)), memoryview(bytes(140_000)), 70_000)
        places = await shared_client.gateway.log.append(IMAGES, chunk)
        url = await self.append(shared_client, bytes(70_000), 70_000, places)
        # It is passed on, and the server cuts the connection.
        with pytest.raises(ImageNotFoundError):
            await shared_client.get(url)


@pytest.mark.usefixtures("tiny_chunks")
class TestPieces:
    """How a body is sent: in one piece where it fits one, wherever in the image it begins."""

    async def test_a_range_deep_in_an_image_is_sent_as_one(self, shared_client):
        url, data = await self.chunked(shared_client)
        for start, end in ((0, 1_000), (150_000, 150_500), (139_000, 141_000), (280_000, 300_000)):
            sent = await self.sent(shared_client, url, start, end)
            assert [each["body"] for each in sent] == [data[start:end]]

    async def test_a_range_that_fits_no_piece_is_sent_as_several(self, shared_client):
        url, data = await self.chunked(shared_client)
        sent = await self.sent(shared_client, url, 10, 299_990)
        assert len(sent) > 4
        assert b"".join(each["body"] for each in sent) == data[10:299_990]

    async def test_a_part_that_is_no_part_of_the_image_is_a_404(self, shared_client):
        url, _ = await self.chunked(shared_client, wrong=2)
        answer = await shared_client.get(url, headers={"range": "bytes=139000-140999"})
        problem(answer, 404, "image-not-found")

    async def chunked(self, client, wrong=None):
        """Store an image in chunks of 70,000 bytes, of which one may be another's."""
        data, cookie = random.Random(7).randbytes(300_000), bytes(range(12))
        chunks = records.chunk_records(cookie, memoryview(data), 70_000)
        if wrong is not None:
            chunks[wrong - 1] = dataclasses.replace(chunks[wrong - 1], key=b"another")
        places = await client.gateway.log.append(IMAGES, chunks)
        described = info(content_length=len(data))
        head = records.head_record(cookie, memoryview(data), described, 70_000, places)
        [position] = await client.gateway.log.append(IMAGES, [head])
        return f"/images/{Address(position, cookie)}", data

    async def sent(self, client, url, start, end):
        """Return the messages with a range of a body."""
        messages = []

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            messages.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": url,
            "raw_path": url.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"range", b"bytes=%d-%d" % (start, end - 1))],
        }
        await client._transport.app(scope, receive, send)
        assert messages[0]["status"] == 206
        return [each for each in messages[1:] if each["body"] or each.get("more_body")]
