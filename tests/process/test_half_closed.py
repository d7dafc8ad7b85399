"""Clients that close their half of a connection: each is answered, and one that has left is not.

A program that pipes a request into a socket (`nc -N`) closes its half behind it, and reads on.
"""

import socket
import time

import pytest

from tests.support import images
from tests.support.forms import HEADERS, field, file, form
from tests.support.gateway_process import GatewayProcess, until
from tests.support.raw_http import RawClient

PNG = images.png(images.photo((64, 48)))
LARGE = images.jpeg(images.photo((2400, 1800), noise=60), quality=95)
MOST = 5_000_000
FORM = form(file(PNG))
FORM_TYPE = HEADERS["content-type"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half-closed")
    settings = {
        "IMAGEGATE_IMAGING__WORKERS": 1,
        "IMAGEGATE_IMAGING__PROFILE": "original",
        "IMAGEGATE_UPLOAD__MAX_BYTES": MOST,
        "IMAGEGATE_UPLOAD__BUDGET_BYTES": 4 * MOST,
        "IMAGEGATE_UPLOAD__PATIENCE_SECONDS": 0.2,
    }
    with GatewayProcess(folder / "data", **settings) as process:
        yield process.start()


@pytest.fixture
def client(gateway):
    with RawClient(gateway) as client:
        yield client


def half_close(client):
    client.socket.shutdown(socket.SHUT_WR)


def count_images(gateway):
    with gateway.client() as client:
        return len(client.get("/images", params={"limit": 1000}).json()["images"])


def until_free(gateway):
    """Wait until all of the memory for uploads, which is that of one, is free."""

    def is_free():
        with RawClient(gateway) as client:
            client.send_head(
                "POST",
                "/images",
                Content_Type="image/png",
                Content_Length=MOST,
                Expect="100-continue",
            )
            # An upload that is not admitted is refused without one.
            return client.read_head()[0] == 100

    until(is_free)


class TestShortBodies:
    """The rest of the request can never come: it is refused, and nothing of it is stored."""

    @pytest.mark.parametrize(
        ("path", "content_type", "body"),
        [
            ("/images", "image/png", PNG),
            ("/images", FORM_TYPE, FORM),
            ("/images/batch", FORM_TYPE, form(file(PNG), file(PNG))),
            ("/links", "application/json", b'{"action": "upload", "seconds": 60, "images": 1}'),
        ],
    )
    @pytest.mark.parametrize("cut", [0, 1, 30, -1])
    def test_a_body_shorter_than_said_is_a_400(
        self, gateway, client, path, content_type, body, cut
    ):
        before = count_images(gateway)
        client.send_head("POST", path, Content_Type=content_type, Content_Length=len(body))
        client.send(body[:cut])
        half_close(client)
        status, headers, problem = client.read_problem()
        assert (status, problem["code"]) == (400, "incomplete-body")
        assert headers["connection"] == "close"
        assert client.ended()
        stored = [each for each in problem.get("results", []) if each["status"] == 201]
        assert len(stored) == (2 if cut == -1 and path == "/images/batch" else 0)
        assert count_images(gateway) == before + len(stored)

    @pytest.mark.parametrize(
        "body", [b"", b"5", b"5\r\n", b"5\r\nabc", b"5\r\nabcde\r\n", b"5\r\nabcde\r\n0\r\n"]
    )
    def test_chunks_without_an_end_are_a_400(self, client, body):
        client.send_head("POST", "/images", Content_Type="image/png", Transfer_Encoding="chunked")
        client.send(body)
        half_close(client)
        status, _, problem = client.read_problem()
        assert (status, problem["code"]) == (400, "incomplete-body")
        assert client.ended()

    def test_a_batch_that_ends_early_says_what_was_stored(self, gateway, client):
        before = count_images(gateway)
        body = form(field("profile", "original"), file(PNG), file(PNG), file(PNG))
        client.send_head("POST", "/images/batch", Content_Type=FORM_TYPE, Content_Length=len(body))
        client.send(body[: body.rindex(PNG) + 20])
        half_close(client)
        status, _, problem = client.read_problem()
        assert (status, problem["code"]) == (400, "incomplete-body")
        assert [each["status"] for each in problem["results"]] == [201, 201, 400]
        assert count_images(gateway) == before + 2

    def test_it_ends_at_once_and_holds_no_memory(self, gateway, client):
        client.send_head("POST", "/images", Content_Type="image/png", Content_Length=MOST)
        client.send(PNG)
        half_close(client)
        started = time.monotonic()
        assert client.read_problem()[0] == 400
        # Far less than any patience with a body that is slow.
        assert time.monotonic() - started < 5
        until_free(gateway)

    @pytest.mark.parametrize(
        "head", ["GET /images HTTP/1.1\r\nHost: localhost\r\n", "GET", "\x16\x03"]
    )
    def test_a_head_without_an_end_is_a_400(self, client, head):
        client.send(head.encode())
        half_close(client)
        status, _, problem = client.read_problem()
        assert (status, problem["code"]) == (400, "bad-request")
        assert client.ended()

    def test_nothing_at_all_is_no_request(self, client):
        half_close(client)
        assert client.ended()


class TestWholeRequests:
    """All of the request is there: it has its answer, and the connection ends behind it."""

    @pytest.mark.parametrize("version", ["1.1", "1.0"])
    def test_an_upload_is_stored_and_answered(self, gateway, client, version):
        before = count_images(gateway)
        client.send(f"POST /images HTTP/{version}\r\nHost: localhost\r\n".encode())
        client.send(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
        client.send(LARGE)
        half_close(client)
        status = 100
        while status == 100:
            status, headers = client.read_head()
        client.read_body(headers)
        assert status == 201
        assert client.ended()
        assert count_images(gateway) == before + 1

    def test_a_download_is_whole(self, gateway, client):
        with gateway.client() as uploader:
            url = uploader.post("/images", content=LARGE).json()["url"]
            picture = uploader.get(url).content
        client.send_head("GET", url)
        half_close(client)
        status = 100
        while status == 100:
            status, headers = client.read_head()
        assert status == 200
        assert client.read_body(headers) == picture
        assert client.ended()

    def test_requests_behind_one_another_are_all_answered(self, client):
        for _ in range(3):
            client.send_head("GET", "/health/live")
        half_close(client)
        answered = 0
        while answered < 3:
            status, headers = client.read_head()
            if status != 100:
                assert status == 200
                client.read_body(headers)
                answered += 1
        assert client.ended()

    def test_a_stream_ends(self, client):
        client.send_head("GET", "/streams/images")
        assert client.read_head()[0] == 200
        half_close(client)
        while client.read_some():
            pass


def test_a_client_that_has_left_is_no_longer_worked_for(gateway):
    """A connection that is closed altogether looks the same at first."""
    for _ in range(20):
        with RawClient(gateway) as client:
            client.send_head(
                "POST", "/images", Content_Type="image/jpeg", Content_Length=len(LARGE)
            )
            client.send(LARGE)
    until_free(gateway)
    assert gateway.mistakes() == []


def test_a_client_that_sends_all_before_it_reads_sees_why_it_is_refused(gateway, client):
    """As most libraries do. On a slow link that takes longer than the answer."""
    piece = bytes(200_000)
    client.send_head("POST", "/images", Content_Type="image/png", Content_Length=40 * len(piece))
    # It has been refused by then, whatever comes.
    assert client.socket.recv(1, socket.MSG_PEEK)
    ends_at = time.monotonic() + 4
    for number in range(40):
        client.send(piece)
        time.sleep(max(ends_at - 0.1 * (40 - number) - time.monotonic(), 0))
    status, headers, problem = client.read_problem()
    assert (status, problem["code"]) == (413, "body-too-large")
    assert headers["connection"] == "close"
    assert client.ended()
