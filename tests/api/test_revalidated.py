"""Answers in JSON that a client keeps: their entity tags, how long they are fresh, and gzip."""

import gzip

import pytest

from tests.support import images
from tests.support.asking import ask
from tests.support.in_process import in_process
from tests.support.pictures import store

MODULE = pytest.mark.asyncio(loop_scope="module")
GZIP = {"accept-encoding": "gzip"}


def paths(picture):
    return ["/images", f"{picture.url}/metadata", "/openapi.json"]


@MODULE
async def test_what_a_client_has_is_answered_without_a_body(shared_client, picture):
    for path in paths(picture):
        first = await shared_client.get(path)
        tag = first.headers["etag"]
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await shared_client.get(path, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), (path, known)
            for name in ("etag", "cache-control", "vary", "link"):
                assert again.headers.get(name) == first.headers.get(name), (path, name)
        other = await shared_client.get(path, headers={"if-none-match": '"other"'})
        assert other.content == first.content


async def test_a_list_that_changes_has_another_tag(tmp_path):
    async with in_process(tmp_path) as client:
        tags = []
        for seed in (1, 2):
            last = await store(client, seed=seed)
            tags += [
                (await client.get(f"/images?limit={limit}")).headers["etag"] for limit in (1, 2)
            ]
        await client.delete(last.url)
        after = (await client.get("/images?limit=2")).headers["etag"]
        # One image is both pages of it.
        assert len(set(tags)) == 3
        assert after == tags[1] == tags[0]


@MODULE
async def test_probes_are_never_kept(shared_client):
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await shared_client.get(path)).headers["cache-control"] == "no-store"


@MODULE
async def test_answers_to_uploads_are_never_kept(shared_client):
    file = {"file": ("once.png", images.png())}
    for path, statuses in (("/images", (201, 201, 200)), ("/images/batch", (200, 200, 200))):
        key = {"idempotency-key": f"once-{path}"}
        asked = ({"headers": key}, {"headers": key}, {"params": {"dedupe": "exact"}})
        for each, status in zip(asked, statuses, strict=True):
            answer = await shared_client.post(path, files=file, **each)
            assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")


@MODULE
async def test_json_ends_with_a_line_end(shared_client, picture):
    answers = [await shared_client.get(path) for path in (*paths(picture), "/health/live")]
    answers.append(await shared_client.get("/images/none"))
    answers.append(await shared_client.put("/images"))
    answers.append(await shared_client.post("/images", content=picture.content))
    for answer in answers:
        assert answer.text.endswith("}\n"), answer.url
        assert not answer.text.endswith("\n\n"), answer.url


class TestCompression:
    @MODULE
    @pytest.mark.parametrize("accepted", ["gzip", "x-gzip", "br, GZIP;q=0.5", "deflate,gzip ; q=1"])
    async def test_it_is_for_clients_that_accept_it(self, shared_client, accepted):
        headers = [(b"accept-encoding", accepted.encode())]
        status, body = await ask(shared_client, ("GET", "/openapi.json"), headers=headers)
        plain = (await shared_client.get("/openapi.json")).content
        assert (status, gzip.decompress(body)) == (200, plain)
        assert len(body) < len(plain) / 5

    @MODULE
    @pytest.mark.parametrize(
        "accepted", ["", "identity", "gzip;q=0", "br, gzip; q=0.00", "gzipped"]
    )
    async def test_it_is_not_for_others(self, shared_client, accepted):
        answer = await shared_client.get("/openapi.json", headers={"accept-encoding": accepted})
        assert "content-encoding" not in answer.headers
        assert answer.headers["content-length"] == str(len(answer.content))
        assert "Accept-Encoding" in answer.headers["vary"]

    async def test_a_list_of_many_pieces_is_whole(self, tmp_path):
        async with in_process(tmp_path) as client:
            for seed in range(30):
                await store(client, seed=seed)
            compressed = await client.get("/images", headers=GZIP)
            plain = await client.get("/images", headers={"accept-encoding": "identity"})
            assert compressed.headers["content-encoding"] == "gzip"
            assert compressed.content == plain.content
            assert compressed.headers["etag"] == plain.headers["etag"]

    @MODULE
    async def test_images_streams_small_answers_and_uploads_are_not(self, shared_client, picture):
        answers = [
            await shared_client.get(picture.url, headers=GZIP),
            await shared_client.get("/health/live", headers=GZIP),
            await shared_client.get("/images/none", headers=GZIP),
            await shared_client.post("/images", content=picture.content, headers=GZIP),
        ]
        assert not any("content-encoding" in each.headers for each in answers)
        headers = [(b"accept-encoding", b"gzip")]
        _, body = await ask(shared_client, ("GET", "/streams/images"), headers=headers)
        assert body.startswith(b":")
