"""Who a client is: the address of its connection, or what a proxy that is trusted says."""

import json

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.raw_http import RawClient


def clients_seen(tmp_path, *fields, proxies=""):
    """Return the client that the log names for a request with these header fields."""
    settings = {"IMAGEGATE_IMAGING__WORKERS": 1, "IMAGEGATE_HTTP__PROXIES": proxies}
    with GatewayProcess(tmp_path / "data", **settings) as gateway:
        gateway.start()
        with RawClient(gateway) as client:
            client.send(
                "\r\n".join(["GET /images HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()
            )
            assert client.read_head()[0] == 200
        return json.loads(gateway.await_output('"path": "/images"'))["client"]


def test_nobody_is_believed_by_default(tmp_path):
    assert clients_seen(tmp_path, "X-Forwarded-For: 192.0.2.7") == "127.0.0.1"


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        # A client may send the header itself: the proxies append to it.
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("2001:db8:1:2::5", "2001:db8:1:2::/64"),
    ],
)
def test_a_proxy_that_is_named_says_who_the_client_is(tmp_path, said, client):
    field = f"X-Forwarded-For: {said}"
    assert clients_seen(tmp_path, field, proxies="127.0.0.1, 10.1.0.0/16") == client
