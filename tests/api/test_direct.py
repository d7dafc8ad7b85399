"""Uploads and downloads pass by the framework, and are answered as any other call is."""

import pytest
from fastapi.routing import APIRoute

from tests.support.in_process import in_process
from tests.support.pictures import store

DIRECT = ("GET", "HEAD")


@pytest.fixture
async def without_framework(tmp_path, monkeypatch):
    """A client of a gateway with a picture, and the picture; no route of the framework works."""

    async def handle(self, scope, receive, send):
        raise RuntimeError(f"the framework was asked for {scope['path']}")

    async with in_process(tmp_path) as client:
        picture = await store(client)
        monkeypatch.setattr(APIRoute, "handle", handle)
        yield client, picture


@pytest.mark.parametrize("method", DIRECT)
async def test_a_download_needs_no_route_of_the_framework(without_framework, method):
    client, picture = without_framework
    answer = await client.request(method, picture.url)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == picture.length


@pytest.mark.parametrize("method", DIRECT)
@pytest.mark.parametrize("path", ["/images/none", f"/images/{'a' * 32}"])
async def test_an_unknown_image_is_a_404_without_the_framework(without_framework, method, path):
    client, _ = without_framework
    answer = await client.request(method, path)
    assert answer.status_code == 404
    if method == "GET":
        assert answer.json()["code"] == "image-not-found"


@pytest.mark.parametrize(
    "path", ["/images/", "/images/a/b", "/images", "/images/none/metadata", "//images/none"]
)
async def test_other_calls_are_the_framework_s(without_framework, path):
    client, _ = without_framework
    answer = await client.get(path)
    assert answer.json()["code"] in ("internal-error", "not-found")
