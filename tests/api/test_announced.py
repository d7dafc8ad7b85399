"""`OPTIONS /images`: the limits of uploads, as the settings have them, told to everyone."""

import pytest

from tests.support import images
from tests.support.credentials import make_key
from tests.support.in_process import problem


async def limits(client):
    answer = await client.options("/images")
    assert answer.status_code == 200, answer.text
    return answer


async def test_the_methods_and_the_content_types_are_those_that_work(client):
    answer = await limits(client)
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    refused = await client.put("/images")
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    types = answer.headers["accept-post"].split(", ")
    assert types == ["multipart/form-data", "image/*", "application/octet-stream"]
    refused = await client.post("/images", content=b"x", headers={"content-type": "text/plain"})
    assert refused.headers["accept"].split(", ") == types


async def test_the_limits_are_those_of_the_settings(gateways):
    client = await gateways(
        upload={
            "max_bytes": 5_000,
            "max_expires_in_seconds": 60,
            "batch_images": 2,
            "batch_bytes": 9_000,
        },
        imaging={"profiles": "small,original", "profile": "original", "metadata": "keep,strip"},
        access={"read": "owner", "visibilities": "public"},
    )
    said = (await limits(client)).json()
    assert said["max_bytes"] == 5_000
    assert (said["max_batch_images"], said["max_batch_bytes"]) == (2, 9_000)
    assert said["max_expires_in"] == 60
    assert said["profile"] == ["original", "small"]
    assert said["metadata"] == ["keep", "strip"]
    assert said["visibility"] == ["owner", "public"]
    problem(await client.post("/images", content=bytes(5_001)), 413, "body-too-large")
    image = (await client.post("/images", content=images.jpeg(images.photo((40, 30))))).json()
    assert (image["profile"], image["receipt"]["metadata"]) == ("original", "keep")


@pytest.mark.parametrize("option", ["profile", "metadata", "visibility", "dedupe"])
async def test_every_value_of_an_option_is_allowed(client, option):
    picture = images.jpeg(images.photo((40, 30)))
    for value in (await limits(client)).json()[option]:
        answer = await client.post("/images", params={option: value}, content=picture)
        assert answer.status_code in {200, 201}, answer.text


async def test_a_client_without_a_credential_is_told_too(gateways, tmp_path):
    make_key(tmp_path / "data", "images:list")
    client = await gateways()
    problem(await client.get("/images"), 401, "credential-required")
    assert (await limits(client)).json()["digests"] == ["sha-256", "sha-512"]
