"""A normal client beside connections that are idle, drip, or are opened and closed."""

import sys

import pytest

from tests.support.authority import Authority
from tests.support.siege import connections

# Few descriptors: the sandbox, the log and the workers need some 40 of them.
FEW_DESCRIPTORS = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", sys.executable, "-m", "app"]


@pytest.fixture
def https(tmp_path):
    """The settings of a gateway that speaks HTTPS."""
    file = str(Authority(tmp_path / "ca.pem").issue(tmp_path / "cert.pem", "one"))
    return {"IMAGEGATE_HTTP__TLS_CERT_FILE": file, "IMAGEGATE_HTTP__TLS_KEY_FILE": file}


@pytest.mark.cheap
async def test_idle_connections_with_few_descriptors(siege):
    await siege(connections.idle_connections, FEW_DESCRIPTORS)


async def test_unbegun_handshakes_with_few_descriptors(siege, https):
    await siege(connections.idle_connections, FEW_DESCRIPTORS, **https)


async def test_handshakes(siege, https):
    await siege(connections.handshakes, **https)


async def test_idle_after_a_request_with_few_descriptors(siege):
    await siege(connections.idle_after_a_request, FEW_DESCRIPTORS)


async def test_idle_from_many_addresses(siege):
    await siege(connections.idle_from_many)


@pytest.mark.cheap
async def test_dripping_heads(siege):
    await siege(connections.dripping_heads)


async def test_opened_and_closed(siege):
    await siege(connections.opened_and_closed)


@pytest.mark.cheap
async def test_pipelined_requests(siege):
    await siege(connections.pipelined_requests)
