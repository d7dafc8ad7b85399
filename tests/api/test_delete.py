"""`DELETE /images/{id}`."""

import pytest

from app.log import IMAGES
from app.records.address import parse
from tests.support.in_process import in_process, problem
from tests.support.pictures import store

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_hides_the_image_at_once_and_for_ever(shared_client):
    gone, kept = await store(shared_client, seed=2), await store(shared_client, seed=3)
    response = await shared_client.delete(gone.url)
    assert (response.status_code, response.content) == (204, b"")
    for _ in range(2):
        problem(await shared_client.get(gone.url), 410, "image-gone")
        problem(await shared_client.get(f"{gone.url}/metadata"), 410, "image-gone")
        assert (await shared_client.head(gone.url)).status_code == 410
    listed = [
        image["id"] for image in (await shared_client.get("/images?limit=1000")).json()["images"]
    ]
    assert gone.id not in listed
    assert kept.id in listed
    assert (await shared_client.get(kept.url)).content == kept.content


async def test_a_client_that_has_it_learns_that_it_is_gone(shared_client):
    gone = await store(shared_client, seed=4)
    await shared_client.delete(gone.url)
    response = await shared_client.get(gone.url, headers={"if-none-match": gone.etag})
    problem(response, 410, "image-gone")


async def test_deleting_again_changes_nothing(shared_client):
    gone = await store(shared_client, seed=5)
    await shared_client.delete(gone.url)
    sequence = shared_client.gateway.feed.sequence
    for _ in range(2):
        assert (await shared_client.delete(gone.url)).status_code == 204
    assert shared_client.gateway.feed.sequence == sequence


async def test_the_embedded_log_erases_the_bytes(shared_client):
    gone = await store(shared_client, seed=6)
    folder = shared_client.gateway.log.path.parent
    marker = gone.content[-200:-50]
    assert any(marker in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    await shared_client.delete(gone.url)
    for path in folder.rglob("*"):
        assert not path.is_file() or marker not in path.read_bytes()


async def test_a_made_up_id_at_the_address_of_an_erased_image_is_one_of_nobody(tmp_path):
    async with in_process(tmp_path, delivery={"cache_bytes": 0}) as client:
        gone = await store(client)
        made_up = gone.id[:16] + gone.id[16:][::-1]
        await client.delete(gone.url)
        for method in ("GET", "HEAD", "DELETE"):
            assert (await client.request(method, f"/images/{made_up}")).status_code == 404, method
        problem(await client.get(f"/images/{made_up}/metadata"), 404, "image-not-found")
        problem(await client.get(gone.url), 410, "image-gone")


async def test_an_image_whose_bytes_have_expired_is_gone_and_can_be_unlisted(tmp_path):
    async with in_process(tmp_path, delivery={"cache_bytes": 0}) as client:
        expired = await store(client)
        where = parse(expired.id).position
        await client.gateway.log.trim(IMAGES, where.partition, where.offset + 1)
        problem(await client.get(expired.url), 410, "image-gone")
        assert (await client.delete(expired.url)).status_code == 204
        assert (await client.get("/images")).json()["images"] == []
