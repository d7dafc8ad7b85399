"""Any number of gateways on one Kafka: nothing but the topics connects them."""

import asyncio

import pytest

from tests.support import images
from tests.support.gateway_process import until

pytestmark = pytest.mark.kafka

SMALL = [images.jpeg(images.photo((80, 60), seed=seed)) for seed in range(8)]
CHUNKED = images.png(images.photo((720, 640), noise=255), compress_level=1, private=False)


def listing(client):
    return client.get("/images?limit=1000").json()["images"]


def test_a_second_gateway_with_an_empty_folder_lists_and_serves_everything(
    new_gateway, topics, tmp_path
):
    first = new_gateway(data_dir=tmp_path / "first", **topics)
    with first.client() as one:
        taken = [one.post("/images", content=data).json() for data in [*SMALL, CHUNKED]]
        one.delete(taken[0]["url"])
        second = new_gateway(data_dir=tmp_path / "second", **topics)
        with second.client() as two:
            assert listing(two) == listing(one) == taken[:0:-1]
            for image in taken[1:]:
                ours, theirs = one.get(image["url"]), two.get(image["url"])
                assert ours.status_code == theirs.status_code == 200
                assert ours.content == theirs.content
                for name in ("etag", "repr-digest", "content-type", "content-disposition"):
                    assert ours.headers[name] == theirs.headers[name]
                assert two.get(image["url"] + "/metadata").json() == image
            assert two.get(taken[0]["url"]).status_code == 410


def test_an_image_is_served_by_the_other_gateway_the_moment_it_is_acknowledged(
    new_gateway, topics, tmp_path
):
    first = new_gateway(data_dir=tmp_path / "first", **topics)
    second = new_gateway(data_dir=tmp_path / "second", **topics)
    with first.client() as one, second.client() as two:
        for data in SMALL:
            for here, there in ((one, two), (two, one)):
                image = here.post("/images", content=data).json()
                assert there.get(image["url"]).status_code == 200
                assert there.get(image["url"] + "/metadata").json() == image


def test_deletions_reach_the_other_gateway_both_ways(new_gateway, topics, tmp_path):
    first = new_gateway(data_dir=tmp_path / "first", **topics)
    second = new_gateway(data_dir=tmp_path / "second", **topics)
    with first.client() as one, second.client() as two:
        for here, there in ((one, two), (two, one)):
            url = one.post("/images", content=SMALL[0]).json()["url"]
            assert there.get(url).status_code == here.get(url).status_code == 200
            assert here.delete(url).status_code == 204
            assert here.get(url).status_code == 410
            until(lambda there=there, url=url: there.get(url).status_code == 410, 5)
            assert there.delete(url).status_code == 204
        assert listing(one) == listing(two) == []


async def test_both_take_uploads_at_once_and_agree_on_one_order(new_gateway, topics, tmp_path):
    first = new_gateway(data_dir=tmp_path / "first", **topics)
    second = new_gateway(data_dir=tmp_path / "second", **topics)
    async with first.async_client() as one, second.async_client() as two:
        responses = await asyncio.gather(
            *(client.post("/images", content=data) for data in SMALL for client in (one, two))
        )
        assert [response.status_code for response in responses] == [201] * len(responses)
        uploaded = {response.json()["id"] for response in responses}

        async def pages():
            return [(await client.get("/images")).json()["images"] for client in (one, two)]

        async with asyncio.timeout(10):
            while True:
                ours, theirs = await pages()
                if len(ours) == len(theirs) == len(uploaded):
                    break
    assert ours == theirs
    assert {image["id"] for image in ours} == uploaded
