"""A download of what is in memory asks neither the log nor the file of the catalog."""

import pytest

from tests.support.in_process import in_process
from tests.support.pictures import store
from tests.support.sealing import K1, sealing
from tests.support.signing import keys

WAYS = [("GET", {}), ("HEAD", {}), ("GET", {"if-none-match": "*"}), ("GET", {"range": "bytes=9-"})]
GATEWAYS = {
    "plain": {},
    "signed": {"kafka": {"signing_keys": keys(k1=K1)}},
    "sealed": sealing(k1=K1),
}


@pytest.mark.parametrize("sections", GATEWAYS.values(), ids=GATEWAYS)
async def test_it_waits_for_nothing(tmp_path, monkeypatch, sections):
    async with in_process(tmp_path, **sections) as client:
        picture, asked = await store(client), []

        def spy(where, name):
            ask = getattr(where, name)

            async def asking(*arguments):
                asked.append((name, arguments))
                return await ask(*arguments)

            monkeypatch.setattr(where, name, asking)

        spy(client.gateway.catalog._database, "query")
        spy(client.gateway.log, "read")
        for method, headers in WAYS:
            answer = await client.request(method, picture.url, headers=headers)
            assert answer.status_code in (200, 206, 304)
        assert not asked
        assert (await client.delete(picture.url)).status_code == 204
        assert (await client.get(picture.url)).status_code == 410
