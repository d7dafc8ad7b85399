"""Requests that come all at once: clients take turns, whatever each has sent before others."""

import select
from contextlib import ExitStack

import pytest

from tests.support import images
from tests.support.raw_http import RawClient

COUNT = 100
# Some begin while the other client is being accepted: one in nine turns of the loop.
MOST_BEFORE = COUNT // 3


@pytest.mark.parametrize("are_connected", [True, False])
def test_a_burst_of_one_client_delays_another_by_a_few_requests(new_gateway, are_connected):
    gateway = new_gateway()
    with ExitStack() as stack, gateway.client() as client:
        data = images.jpeg(images.photo((1900, 1900), noise=255), quality=95)
        large = client.post("/images", params={"profile": "original"}, content=data).json()["url"]
        for path in ("/health/live", f"/images/{'a' * 32}", large):

            def connect(source):
                opened = stack.enter_context(RawClient(gateway, 4096, source))
                if are_connected:
                    ask(opened)
                return opened

            burst = [connect("127.0.0.2") for _ in range(COUNT)]
            other = connect("127.0.0.3")
            for each in burst:
                each.send_head("GET", path)
            assert ask(other) == 200
            answered, _, _ = select.select([each.socket for each in burst], [], [], 0)
            assert len(answered) < MOST_BEFORE


def ask(client):
    client.send_head("GET", "/health/live")
    status, headers = client.read_head()
    client.read_body(headers)
    return status
