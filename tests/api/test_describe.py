"""`GET /images/{id}/metadata`."""

import pytest
import pytest_asyncio

from app.log import IMAGES
from app.records import image as records
from app.records.address import Address
from tests.support.facts import info
from tests.support.in_process import in_process, problem
from tests.support.pictures import store

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory):
    """One gateway for the whole module, as its start is slow."""
    async with in_process(tmp_path_factory.mktemp("gateway")) as client:
        yield client


async def test_it_is_the_json_of_the_upload(client):
    picture = await store(client)
    response = await client.get(f"{picture.url}/metadata")
    assert response.status_code == 200
    assert response.json() == picture.json
    assert response.json()["sequence"] is not None


async def test_an_image_without_its_event_is_not_there(client):
    cookie = bytes(12)
    head = records.head_record(cookie, memoryview(b"x"), info(content_length=1), 100, ())
    [position] = await client.gateway.log.append(IMAGES, [head])
    response = await client.get(f"/images/{Address(position, cookie)}/metadata")
    problem(response, 404, "image-not-found")
