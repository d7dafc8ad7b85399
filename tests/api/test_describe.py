"""`GET /images/{id}/metadata`."""

import pytest

from app.log import IMAGES
from app.records import image as records
from app.records.address import Address
from tests.support.facts import info
from tests.support.in_process import problem
from tests.support.pictures import store

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_is_the_json_of_the_upload(shared_client):
    picture = await store(shared_client)
    response = await shared_client.get(f"{picture.url}/metadata")
    assert response.status_code == 200
    assert response.json() == picture.json
    assert response.json()["sequence"] is not None


async def test_an_image_without_its_event_is_not_there(shared_client):
    cookie = bytes(12)
    head = records.head_record(cookie, memoryview(b"x"), info(content_length=1), 100, ())
    [position] = await shared_client.gateway.log.append(IMAGES, [head])
    response = await shared_client.get(f"/images/{Address(position, cookie)}/metadata")
    problem(response, 404, "image-not-found")
