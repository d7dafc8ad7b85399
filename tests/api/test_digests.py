"""Digests (RFC 9530): those of requests are verified, those of answers are as they are wanted."""

import asyncio
import base64
import hashlib

import pytest

from tests.support import images
from tests.support.in_process import problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

JPEG = images.jpeg(images.photo((40, 30)))
BOUNDARY = "--b"
FORM = {"content-type": "multipart/form-data; boundary=b"}
NAMES = ("content-digest", "repr-digest")


def field(data, *algorithms):
    """The digests of some bytes, as a field."""
    hashes = [(each, hashlib.new(each.replace("-", ""), data).digest()) for each in algorithms]
    return ", ".join(f"{name}=:{base64.b64encode(each).decode()}:" for name, each in hashes)


def form(*headers, data=JPEG, more=b""):
    """A form with a file whose part has these headers."""
    lines = [b'Content-Disposition: form-data; name="file"; filename="img.jpg"', *headers]
    head = b"\r\n".join(each.encode() if isinstance(each, str) else each for each in lines)
    return b"--b\r\n" + head + b"\r\n\r\n" + data + more + b"\r\n--b--\r\n"


async def post(client, body, status, code=None, **headers):
    """Upload; where it is refused, see that nothing was stored."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    before = client.gateway.feed.sequence
    answer = await client.post("/images", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if code is not None:
        told = problem(answer, status, code)
        assert client.gateway.feed.sequence == before
        return told["detail"]
    return answer


class TestRequests:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("algorithms", [["sha-256"], ["sha-512"], ["sha-256", "sha-512"]])
    async def test_a_body_is_compared_with_each(self, shared_client, name, algorithms):
        given = field(JPEG, *algorithms)
        await post(shared_client, JPEG, 201, **{name: given})
        for algorithm in algorithms:
            wrong = given.replace(field(JPEG, algorithm), field(b"other", algorithm))
            detail = await post(shared_client, JPEG, 400, "digest-mismatch", **{name: wrong})
            found = field(JPEG, algorithm)
            assert detail == f"{name.title()}: what came has the digest {found}."

    async def test_both_may_come_and_each_counts(self, shared_client):
        right, wrong = field(JPEG, "sha-256"), field(b"other", "sha-256")
        await post(shared_client, JPEG, 201, content_digest=right, repr_digest=right)
        for first, second in ((right, wrong), (wrong, right)):
            headers = {"content_digest": first, "repr_digest": second}
            await post(shared_client, JPEG, 400, "digest-mismatch", **headers)

    @pytest.mark.parametrize("name", NAMES)
    async def test_that_of_a_form_is_of_the_whole_form(self, shared_client, name):
        whole = form(more=b"")
        await post(shared_client, whole, 201, **FORM, **{name: field(whole, "sha-256")})
        given = {name: field(JPEG, "sha-256")}
        await post(shared_client, whole, 400, "digest-mismatch", **FORM, **given)

    @pytest.mark.parametrize("name", NAMES)
    async def test_that_of_a_part_is_of_the_file(self, shared_client, name):
        for algorithm in ("sha-256", "sha-512"):
            right = form(f"{name}: {field(JPEG, algorithm)}")
            await post(shared_client, right, 201, **FORM)
            wrong = form(f"{name.upper()}:{field(b'other', algorithm)}")
            await post(shared_client, wrong, 400, "digest-mismatch", **FORM)
        split = form(f"{name}: {field(JPEG, 'sha-256')}", f"{name}: {field(b'', 'sha-512')}")
        await post(shared_client, split, 400, "digest-mismatch", **FORM)

    async def test_a_field_of_a_form_is_compared_too(self, shared_client):
        part = b'--b\r\nContent-Disposition: form-data; name="source"\r\nContent-Digest: %s\r\n\r\n'
        digest = field(b"door", "sha-256").encode()
        await post(shared_client, part % digest + b"door\r\n" + form(), 201, **FORM)
        altered = part % digest + b"gate\r\n" + form()
        await post(shared_client, altered, 400, "digest-mismatch", **FORM)

    @pytest.mark.parametrize(
        "given",
        ["", "md5=:AAAA:", "crc32c=1, sha=?1", "sha-384=(a b);c", "unixsum=12345"],
    )
    async def test_other_algorithms_are_ignored(self, shared_client, given):
        await post(shared_client, JPEG, 201, content_digest=given)
        known = f"{given}, {field(b'other', 'sha-256')}" if given else field(b"other", "sha-256")
        await post(shared_client, JPEG, 400, "digest-mismatch", content_digest=known)

    @pytest.mark.parametrize(
        "given",
        [
            "sha-256",
            "sha-256=1",
            "sha-256=::",
            "sha-256=:AAAA:",
            'sha-256="X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="',
            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            "sha-256=:X48E9",
            "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            "=",
            "\xff",
            f"md5=:{'A' * 2_100}:",
        ],
        ids=lambda given: given[:12],
    )
    async def test_one_that_cannot_be_read_is_refused(self, shared_client, given):
        for name in NAMES:
            headers = {name: given.encode("latin-1")}
            await post(shared_client, JPEG, 400, "invalid-digest", **headers)
            part = form(name.encode() + b": " + given.encode("latin-1"))
            await post(shared_client, part, 400, "invalid-digest", **FORM)

    async def test_several_lines_are_one_list(self, shared_client):
        lines = [("content-digest", "md5=:AAAA:"), ("content-digest", field(b"a", "sha-256"))]
        answer = await shared_client.post("/images", content=JPEG, headers=lines)
        problem(answer, 400, "digest-mismatch")

    async def test_that_of_a_link_is_compared_too(self, shared_client):
        body = b'{"kind": "upload"}'
        for given, status in ((body, 201), (b"other", 400)):
            headers = {
                "content-type": "application/json",
                "content-digest": field(given, "sha-256"),
            }
            answer = await shared_client.post("/links", content=body, headers=headers)
            assert answer.status_code == status


class TestAnswers:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        ("wanted", "sent"),
        [
            (None, "sha-256"),
            ("sha-256=1", "sha-256"),
            ("sha-512=10", "sha-512"),
            ("sha-512=3, sha-256=4", "sha-256"),
            ("sha-512=4, sha-256=4", "sha-256"),
            ("sha-512=4, sha-256=3, md5=10", "sha-512"),
            ("sha-512=0", "sha-256"),
            ("md5=10", "sha-256"),
            ("sha-256=0", None),
            ("sha-256=0, sha-512=0", None),
            ("sha-256=0, sha-512=1", "sha-512"),
            ("sha-512=11", "sha-256"),
            ("sha-512=1.5", "sha-256"),
            ("sha-512", "sha-256"),
            ("((", "sha-256"),
        ],
    )
    async def test_the_digest_of_an_image_is_by_the_algorithm_that_is_wanted(
        self, shared_client, picture, method, wanted, sent
    ):
        headers = {"want-repr-digest": wanted} if wanted else {}
        answer = await shared_client.request(method, picture.url, headers=headers)
        assert answer.status_code == 200
        assert "content-digest" not in answer.headers
        expected = field(picture.content, sent) if sent else None
        assert answer.headers.get("repr-digest") == expected

    async def test_that_of_a_range_is_of_the_image_and_of_its_bytes(self, shared_client, picture):
        wanted = {"want-repr-digest": "sha-512=1", "want-content-digest": "sha-256=1"}
        for start, end in ((0, 100), (50, len(picture.content))):
            headers = wanted | {"range": f"bytes={start}-{end - 1}"}
            answer = await shared_client.get(picture.url, headers=headers)
            assert answer.status_code == 206
            assert answer.headers["repr-digest"] == field(picture.content, "sha-512")
            assert answer.headers["content-digest"] == field(answer.content, "sha-256")
            assert answer.content == picture.content[start:end]

    async def test_an_image_is_read_once_for_its_other_digest(self, shared_client, monkeypatch):
        image = (await shared_client.post("/images", content=JPEG)).json()
        delivery, opened = shared_client.gateway.delivery, []
        real = delivery.open

        async def counting(*args):
            opened.append(args[1:3])
            return await real(*args)

        monkeypatch.setattr(delivery, "open", counting)
        monkeypatch.setattr(shared_client.gateway.digests, "_delivery", delivery)
        shared_client.gateway.digests._known.clear()
        wanted = {"want-repr-digest": "sha-512=1"}
        heads = (shared_client.head(image["url"], headers=wanted) for _ in range(3))
        at_once = await asyncio.gather(*heads)
        after = await shared_client.head(image["url"], headers=wanted)
        assert len({each.headers["repr-digest"] for each in (*at_once, after)}) == 1
        assert len(opened) == 1

    async def test_json_has_one_where_it_is_wanted(self, shared_client, picture):
        for path in ("/images", "/images?limit=1", f"{picture.url}/metadata"):
            assert "content-digest" not in (await shared_client.get(path)).headers
            for algorithm in ("sha-256", "sha-512"):
                wanted = {"want-content-digest": f"{algorithm}=1"}
                answer = await shared_client.get(path, headers=wanted)
                assert answer.headers["content-digest"] == field(answer.content, algorithm)

    async def test_an_upload_has_that_of_its_json_and_of_its_image(self, shared_client):
        headers = {"want-content-digest": "sha-512=1", "want-repr-digest": "sha-512=1"}
        answer = await post(shared_client, JPEG, 201, **headers)
        assert answer.headers["content-digest"] == field(answer.content, "sha-512")
        stored = (await shared_client.get(answer.json()["url"])).content
        assert answer.headers["repr-digest"] == field(stored, "sha-256")
        answer = await post(shared_client, JPEG, 201, want_repr_digest="sha-256=0")
        assert "repr-digest" not in answer.headers
