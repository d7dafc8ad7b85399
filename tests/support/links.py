"""Signed links, made and tampered with."""

from urllib.parse import parse_qsl, urlencode

from tests.support.credentials import bearer


async def make(client, key=None, status=201, **wanted):
    """Make a link; returns its JSON."""
    headers = bearer(key) if key else {}
    response = await client.post("/links", json=wanted, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


def link(gateway, **wanted):
    """Make a link at a gateway that runs as a process, with its `key`; returns its address."""
    with gateway.client(headers=bearer(gateway.key)) as client:
        response = client.post("/links", json=wanted)
        assert response.status_code == 201, response.text
        return response.json()["url"]


def changed(url, **parameters):
    """Another address: with these parameters, without those that are None."""
    path, _, query = url.partition("?")
    merged = {name: value for name, value in (dict(parse_qsl(query)) | parameters).items() if value}
    return f"{path}?{urlencode(merged)}"
