"""Answers agree with the OpenAPI document, errors included, and the check itself can fail."""

import dataclasses

import httpx
import pytest

from app.api import examples
from app.errors import CatalogDamagedError, LogUnavailableError
from app.log import IMAGES
from app.records import image as records
from app.records.address import Address
from tests.support import images
from tests.support.described import check
from tests.support.facts import info

IMAGE = "/images/{image_id}"
FINDING = [("GET", IMAGE), ("HEAD", IMAGE), ("DELETE", IMAGE), ("GET", f"{IMAGE}/metadata")]


class TestTrouble:
    """Trouble below an operation is answered as the document lists it: the client checks that."""

    @pytest.mark.parametrize(("method", "path"), FINDING)
    @pytest.mark.parametrize(
        ("part", "name", "error"),
        [("log", "read", LogUnavailableError), ("catalog", "known", CatalogDamagedError)],
    )
    async def test_an_image_that_cannot_be_found_for_now_is_a_503(
        self, client, monkeypatch, method, path, part, name, error
    ):
        uploaded = await client.post("/images", content=images.png())
        monkeypatch.setattr(getattr(client.gateway, part), name, failing(error))
        response = await client.request(method, path.format(image_id=uploaded.json()["id"]))
        assert response.status_code == 503
        assert method == "HEAD" or response.json()["code"] == error.code

    @pytest.mark.parametrize(("method", "path"), FINDING)
    async def test_an_image_of_a_newer_version_is_a_503(self, client, method, path):
        cookie = bytes(12)
        head = records.head_record(cookie, memoryview(b"x"), info(), 100, ())
        newer = dataclasses.replace(
            head, headers=(("imagegate-version", b"%d" % (records.VERSION + 1)),)
        )
        [position] = await client.gateway.log.append(IMAGES, [newer])
        image_id = str(Address(position, cookie))
        response = await client.request(method, path.format(image_id=image_id))
        assert response.status_code == 503
        assert method == "HEAD" or response.json()["code"] == "newer-version"

    async def test_a_list_of_a_damaged_catalog_is_a_503(self, client, monkeypatch):
        monkeypatch.setattr(client.gateway.catalog, "newest", failing(CatalogDamagedError))
        assert (await client.get("/images")).json()["code"] == "catalog-damaged"

    @pytest.mark.parametrize("path", ["/streams/images", "/streams/images.mjpeg"])
    async def test_a_stream_of_a_gateway_that_stops_is_a_503(self, client, path):
        client.gateway.drain()
        assert (await client.get(path)).json()["code"] == "not-ready"


def failing(error):
    """A function, or one of a coroutine, that raises an error whatever its arguments."""

    def fail(*_):
        raise error("Trouble.")

    return fail


class TestCheck:
    """`check`, which every answer in the other tests has passed, can fail."""

    @pytest.mark.parametrize(
        ("status", "code", "headers"),
        [
            (418, "image-not-found", {}),
            (404, "image-gone", {}),
            (404, "image-not-found", {"x-undescribed": "1"}),
            (503, "not-ready", {}),
            (404, "image-not-found", {"content-type": "application/json"}),
            (404, "image-not-found", {"x-request-id": None}),
        ],
        ids=["status", "code", "header", "no Retry-After", "content type", "no request id"],
    )
    def test_an_answer_that_the_document_does_not_describe_is_found(self, status, code, headers):
        with pytest.raises(AssertionError):
            check(self.answer(status, code, **headers))
        check(self.answer(404, "image-not-found"))

    def answer(self, status, code, **headers):
        sent = {
            "content-type": "application/problem+json",
            "cache-control": "no-store",
            "x-request-id": "1",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
        } | headers
        return httpx.Response(
            status,
            headers={name: value for name, value in sent.items() if value},
            json={"code": code},
            request=httpx.Request("GET", f"http://gateway{examples.IMAGE_PATH}"),
        )
