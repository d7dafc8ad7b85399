"""Limits of connections and of slow readers, on real sockets of several clients."""

import json
import sys
from contextlib import ExitStack, suppress

import pytest

from tests.support import images
from tests.support.gateway_process import GatewayProcess, until
from tests.support.raw_http import RawClient

PNG = images.png(images.photo((16, 12)))
ATTACKER, USER = "127.0.0.2", "127.0.0.3"
ONE_WORKER = {"IMAGEGATE_IMAGING__WORKERS": 1}


@pytest.fixture
def start(tmp_path):
    """Start a gateway with these settings, and at most so many descriptors."""
    with ExitStack() as stack:

        def start(descriptors=None, **settings):
            program = None
            if descriptors:
                command = f'ulimit -n {descriptors}; exec {sys.executable} -m app "$@"'
                program = ["sh", "-c", command, "sh"]
            names = {f"IMAGEGATE_{name.upper()}": value for name, value in settings.items()}
            process = GatewayProcess(tmp_path / "data", program=program, **ONE_WORKER | names)
            return stack.enter_context(process).start()

        yield start


@pytest.fixture
def connect():
    """Open connections, all of which are closed at the end."""
    with ExitStack() as stack:

        def connect(gateway, source=ATTACKER, **options):
            return stack.enter_context(RawClient(gateway, source=source, **options))

        yield connect


def ask(client, path="/health/live", method="GET", body=b""):
    """Return status and headers of a request."""
    client.send_head(method, path, Content_Length=len(body))
    client.send(body)
    status, headers = client.read_head()
    client.read_body(headers)
    return status, headers


def stream(client):
    """Begin a stream that lasts."""
    client.send_head("GET", "/streams/images")
    assert client.read_head()[0] == 200
    return client


def test_200_idle_connections_do_not_use_up_128_descriptors(start, connect):
    gateway = start(descriptors=128)
    assert json.loads(gateway.await_output("connections_limited"))["allowed"] < 100
    for _ in range(200):
        connect(gateway)
    assert ask(connect(gateway, USER))[0] == 200
    assert ask(connect(gateway, USER), "/images", "POST", PNG)[0] == 201
    assert json.loads(gateway.await_output("connection_closed"))["reason"] == "quiet"
    assert gateway.mistakes() == []


def test_streams_of_one_client_leave_room_for_another(start, connect):
    gateway = start(http__max_connections=8)
    for _ in range(8):
        stream(connect(gateway))
    beyond = connect(gateway)
    status, headers = ask(beyond, "/images")
    assert (status, headers["connection"]) == (503, "close")
    assert headers["x-request-id"]
    assert beyond.ended()
    assert ask(connect(gateway))[0] == 200
    assert ask(connect(gateway, USER), "/images", "POST", PNG)[0] == 201
    assert json.loads(gateway.await_output("connection_closed"))["reason"] == "share"


def test_a_client_beyond_its_own_limit_is_refused_but_its_probes_are_not(start, connect):
    gateway = start(http__client_connections=2)
    for _ in range(2):
        stream(connect(gateway))
    assert ask(connect(gateway), "/images", "POST", PNG)[0] == 429
    assert ask(connect(gateway))[0] == 200
    assert ask(connect(gateway, USER), "/images", "POST", PNG)[0] == 201
    assert json.loads(gateway.await_output("request_refused"))["reason"] == "connections"


def test_clients_behind_a_proxy_are_counted_one_by_one(start, connect):
    gateway = start(http__client_connections=2, http__proxies="127.0.0.1")
    for _ in range(3):
        client = connect(gateway, "127.0.0.1")
        client.send_head("GET", "/streams/images", X_Forwarded_For="192.0.2.1")
        status, _ = client.read_head()
    assert status == 429
    other = connect(gateway, "127.0.0.1")
    other.send_head("GET", "/images", X_Forwarded_For="192.0.2.2")
    assert other.read_head()[0] == 200


def large_image(gateway):
    data = images.png(images.photo((1600, 1400), noise=255), compress_level=1, private=False)
    with gateway.client() as client:
        return client.post("/images?profile=original", content=data).json()


def rest_of(client):
    """Return how many bytes still come, before the end of the connection or its reset."""
    count = 0
    with suppress(ConnectionResetError):
        while piece := client.read_some():
            count += len(piece)
    return count


def test_a_client_that_does_not_read_is_cut_off(start, connect):
    gateway = start(http__slow_read_seconds=0.5)
    image = large_image(gateway)
    still = connect(gateway, receive_buffer=16_384)
    still.send_head("GET", image["url"])
    line = json.loads(gateway.await_output("connection_closed"))
    assert (line["reason"], line["client"]) == ("unread", ATTACKER)
    assert rest_of(still) < image["content_length"]


def test_a_client_that_reads_slowly_gets_all_of_it(start, connect):
    # A rate that every reader has, judged often.
    gateway = start(http__slow_read_seconds=0.2, http__min_read_rate=1)
    image = large_image(gateway)
    slow = connect(gateway, receive_buffer=16_384)
    slow.send_head("GET", image["url"])
    _, headers = slow.read_head()
    received = len(slow.received)
    while received < int(headers["content-length"]):
        piece = slow.socket.recv(4_096)
        assert piece
        received += len(piece)
    assert not any("connection_closed" in line for line in gateway.output)


@pytest.mark.parametrize(("lines", "status"), [(98, 200), (101, 431), (6_000, 431)])
def test_a_request_has_only_so_many_headers(start, connect, lines, status):
    gateway = start()
    client = connect(gateway)
    fields = "\r\n".join(["a:b"] * lines)
    # The second one comes before the first is answered.
    for _ in range(2):
        client.send(f"GET /health/live HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n".encode())
    answered, headers = client.read_head()
    assert answered == status
    if status == 431:
        assert json.loads(client.read_body(headers))["code"] == "headers-too-large"
        assert client.ended()


def test_a_connection_that_ends_is_forgotten(start, connect):
    gateway = start(http__max_connections=8)
    for _ in range(30):
        with RawClient(gateway, source=USER) as client:
            stream(client)
    until(lambda: ask(connect(gateway, USER), "/images")[0] == 200, 10)
