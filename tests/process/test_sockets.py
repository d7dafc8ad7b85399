"""Connections on the wire: interim responses, early refusals, broken connections."""

import contextlib
import http.client
import json
import time

import pytest

from tests.support import images
from tests.support.forms import HEADERS as BATCH
from tests.support.forms import file, form
from tests.support.gateway_process import GatewayProcess, until
from tests.support.raw_http import RawClient

# The smallest value allowed; an upload holds four bytes for each that came, and all but the oldest
# leave room for one of the largest.
BUDGET = 1_000_000
LIMIT = 200_000
PART = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
JPEG = images.jpeg(images.photo((64, 48)))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    settings = {
        "IMAGEGATE_UPLOAD__BUDGET_BYTES": BUDGET,
        "IMAGEGATE_UPLOAD__PATIENCE_SECONDS": 0,
        "IMAGEGATE_UPLOAD__MAX_BYTES": LIMIT,
        "IMAGEGATE_HTTP__SLOW_BODY_SECONDS": 600,
        # Most clients here send nothing more, and wait for the end of the connection.
        "IMAGEGATE_HTTP__LINGER_SECONDS": 0.2,
        "IMAGEGATE_IMAGING__WORKERS": 1,
    }
    folder = tmp_path_factory.mktemp("sockets") / "data"
    with GatewayProcess(folder, **settings) as process:
        yield process.start()


@pytest.fixture(autouse=True)
def no_mistakes(gateway):
    yield
    assert gateway.mistakes() == []


def expecting(client, length, content_type="image/jpeg", **headers):
    client.send_head(
        "POST",
        "/images",
        Content_Type=content_type,
        Content_Length=length,
        Expect="100-continue",
        **headers,
    )


def admitted(gateway):
    """Tell whether an upload would get memory now."""
    with RawClient(gateway) as client:
        expecting(client, len(JPEG))
        return client.read_head()[0] == 100


@contextlib.contextmanager
def full(gateway, content_type="image/jpeg"):
    """Hold the whole budget, by two uploads that are nearly complete."""
    with RawClient(gateway) as oldest, RawClient(gateway) as other:
        for client, length in ((oldest, LIMIT), (other, (BUDGET // 4 - LIMIT) - 100)):
            expecting(client, length, content_type)
            assert client.read_head()[0] == 100
            client.send(PART.ljust(length - 100, b"x"))
        until(lambda: not admitted(gateway))
        yield


def stored(gateway):
    with gateway.client() as client:
        return client.get("/images?limit=1000").json()["images"]


class TestContinue:
    def test_an_upload_within_the_budget_is_told_to_go_on_and_is_stored(self, gateway):
        with RawClient(gateway) as client:
            expecting(client, len(JPEG))
            assert client.read_head()[0] == 100
            client.send(JPEG)
            assert client.read_head()[0] == 201

    def test_over_the_budget_it_gets_503_and_no_continue(self, gateway):
        with full(gateway), RawClient(gateway) as client:
            expecting(client, len(JPEG))
            status, headers, problem = client.read_problem()
            assert (status, problem["code"], problem["retryable"]) == (503, "overloaded", True)
            assert int(headers["retry-after"]) > 0
            # Bytes that the client might still send would be read as a request.
            assert headers["connection"] == "close"
            assert client.ended()

    @pytest.mark.parametrize("content_type", ["image/jpeg", "multipart/form-data; boundary=b"])
    def test_an_announced_length_over_the_limit_gets_413_and_no_continue(
        self, gateway, content_type
    ):
        with RawClient(gateway) as client:
            expecting(client, LIMIT + 100_000, content_type)
            status, _, problem = client.read_problem()
            assert (status, problem["code"]) == (413, "body-too-large")
            assert client.ended()

    @pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image"])
    def test_an_unsupported_type_gets_415_and_no_continue(self, gateway, content_type):
        with RawClient(gateway) as client:
            expecting(client, len(JPEG), content_type)
            status, _, problem = client.read_problem()
            assert (status, problem["code"]) == (415, "unsupported-media-type")
            assert client.ended()

    def test_an_unknown_path_and_method_get_no_continue_either(self, gateway):
        for method, path, expected in (("POST", "/picture", 404), ("PUT", "/images", 405)):
            with RawClient(gateway) as client:
                client.send_head(method, path, Content_Length=len(JPEG), Expect="100-continue")
                assert client.read_problem()[0] == expected

    @pytest.mark.parametrize("length", ["ten", "-1", "+5", "1e3", "5, 6", "9" * 40])
    def test_a_length_that_is_no_length_is_the_clients_mistake(self, gateway, length):
        with RawClient(gateway) as client:
            expecting(client, length)
            assert client.read_head()[0] in {400, 413}


def batching(client, length, **headers):
    headers |= {"Content_Length": length} if length else {"Transfer_Encoding": "chunked"}
    client.send_head("POST", "/images/batch", Content_Type=BATCH["content-type"], **headers)


class TestBatches:
    def test_one_of_more_bytes_than_the_budget_is_stored_whatever_it_announces(self, gateway):
        data = images.png(images.photo((140, 140), noise=255), compress_level=1, private=False)
        body = form(*[file(data)] * 25)
        assert len(body) > BUDGET
        with RawClient(gateway) as client:
            for length in (len(body), None):
                batching(client, length)
                client.send(body if length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
                # Both on one connection.
                status, headers = client.read_head()
                assert status == 200
                results = json.loads(client.read_body(headers))["results"]
                assert [each["status"] for each in results] == [201] * 25

    def test_over_the_budget_it_gets_503_and_no_continue(self, gateway):
        with full(gateway), RawClient(gateway) as client:
            batching(client, 5_000, Expect="100-continue")
            status, _, problem = client.read_problem()
            assert (status, problem["code"]) == (503, "overloaded")
            assert "results" not in problem
            assert client.ended()

    def test_a_client_that_leaves_in_the_middle_keeps_what_is_stored_and_frees_the_budget(
        self, gateway
    ):
        before = len(stored(gateway))
        with RawClient(gateway) as client:
            batching(client, 150_000)
            client.send(file(JPEG) + file(bytes(100_000))[:50_000])
            until(lambda: len(stored(gateway)) == before + 1)
        with full(gateway):
            # Nothing of it holds memory: two others can have all of it.
            pass
        assert len(stored(gateway)) == before + 1

    def test_a_form_that_breaks_off_is_answered_while_the_client_still_sends(self, gateway):
        with RawClient(gateway) as client:
            batching(client, 300_000)
            client.send(file(JPEG) + b"--batch-boundary\r\n no header\r\n\r\n")
            status, headers, problem = client.read_problem()
            assert (status, problem["code"], headers["connection"]) == (400, "bad-request", "close")
            assert [each["status"] for each in problem["results"]] == [201]


class TestBrokenConnections:
    @pytest.mark.parametrize("content_type", ["image/jpeg", "multipart/form-data; boundary=b"])
    def test_a_client_that_leaves_in_mid_body_stores_nothing_and_frees_the_budget(
        self, gateway, content_type
    ):
        before = stored(gateway)
        with full(gateway, content_type):
            assert not admitted(gateway)
        until(lambda: admitted(gateway))
        assert stored(gateway) == before

    def test_a_client_that_leaves_in_mid_chunk_stores_nothing(self, gateway):
        before = stored(gateway)
        with RawClient(gateway) as leaver:
            leaver.send_head("POST", "/images", Transfer_Encoding="chunked")
            leaver.send(b"%x\r\n" % len(JPEG) + JPEG + b"\r\n")
            seen = len(gateway.output)
        until(lambda: any('"POST"' in line for line in gateway.output[seen:]))
        assert stored(gateway) == before

    def test_clients_that_leave_in_mid_download_cost_neither_errors_nor_memory(self, new_gateway):
        gateway = new_gateway(IMAGEGATE_DELIVERY__CACHE_BYTES=0)
        data = images.png(images.photo((1000, 1000), noise=255), compress_level=1, private=False)
        with gateway.client() as client:
            url = client.post("/images", content=data).json()["url"]
            whole = client.get(url).content
        before = gateway.resident_bytes()
        for _ in range(40):
            with RawClient(gateway, receive_buffer=4096) as leaver:
                leaver.send_head("GET", url)
                assert leaver.read_head()[0] == 200
        with gateway.client() as client:
            assert client.get(url).content == whole
        # Forty images of 3 MB that were not released would be 120 MB.
        until(lambda: gateway.resident_bytes() - before < 30_000_000)
        assert gateway.mistakes() == []


class TestHostileFraming:
    def test_a_length_beside_a_transfer_encoding_is_refused_before_the_body(self, gateway):
        with RawClient(gateway) as client:
            client.send_head(
                "POST",
                "/images",
                Content_Type="image/jpeg",
                Content_Length="1",
                Transfer_Encoding="chunked",
            )
            status, headers, problem = client.read_problem()
            assert (status, problem["code"]) == (400, "bad-request")
            assert headers["connection"] == "close"

    def test_a_body_of_tiny_chunks_is_cut_off_and_holds_nobody_up(self, gateway):
        with RawClient(gateway) as client:
            client.send_head(
                "POST", "/images", Content_Type="image/jpeg", Transfer_Encoding="chunked"
            )
            with contextlib.suppress(ConnectionError):
                for _ in range(50):
                    client.send(b"1\r\na\r\n" * 10_000)
            started = time.monotonic()
            with gateway.client() as other:
                assert other.get("/health/live").status_code == 200
            assert time.monotonic() - started < 3

    def test_chunks_that_come_all_at_once_are_a_body(self, gateway):
        """Those of 1 KB in one piece after the head, as curl sends a file through a pipe."""
        data = images.png(images.photo((140, 140), noise=255), compress_level=1, private=False)
        pieces = [data[at : at + 1024] for at in range(0, len(data), 1024)]
        with RawClient(gateway) as client:
            client.send_head(
                "POST", "/images", Content_Type="image/png", Transfer_Encoding="chunked"
            )
            framed = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces)
            client.send(framed + b"0\r\n\r\n")
            assert client.read_head()[0] == 201

    def test_headers_without_end_are_cut_off(self, gateway):
        with RawClient(gateway) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    client.send(b"X: " + b"a" * 60_000 + b"\r\n")
                raise AssertionError("60 MB of headers were accepted")

    def test_a_client_that_sends_on_sees_the_early_answer(self, new_gateway):
        """http.client sends all of its body before it looks for an answer."""
        gateway = new_gateway(IMAGEGATE_UPLOAD__MAX_BYTES=LIMIT)
        for _ in range(3):
            connection = http.client.HTTPConnection(*gateway.address, timeout=20)
            with contextlib.closing(connection):
                headers = {"Content-Type": "image/jpeg"}
                connection.request("POST", "/images", bytes(25_000_000), headers)
                response = connection.getresponse()
                assert response.status == 413
                assert json.loads(response.read())["code"] == "body-too-large"
        assert gateway.mistakes() == []

    def test_what_is_no_http_is_answered_as_a_problem(self, gateway):
        with RawClient(gateway) as client:
            client.send(b"hello\r\n\r\n")
            status, headers, problem = client.read_problem()
            assert (status, problem["code"]) == (400, "bad-request")
            assert headers["x-request-id"] == problem["request_id"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["date"].endswith(" GMT")
            gateway.await_output(problem["request_id"])

    @pytest.mark.parametrize("end", ["", " HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    @pytest.mark.parametrize("target", ["/images/" + "a" * 9_000, "/images?limit=" + "1" * 9_000])
    def test_a_target_that_is_too_long_is_refused_as_such(self, gateway, target, end):
        with RawClient(gateway) as client:
            client.send(f"GET {target}{end}".encode())
            status, headers, problem = client.read_problem()
            assert (status, problem["code"]) == (414, "target-too-long")
            assert headers["x-request-id"] == problem["request_id"]

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param("X: " + "a" * 33_000 + "\r\n", id="long"),
            pytest.param("X: " + "a" * 40_000, id="endless"),
            pytest.param("".join(f"X-{at}: 1\r\n" for at in range(101)), id="many"),
            pytest.param(f"X: {'a' * 300}\r\n" * 99 + "Y: " + "a" * 9_000 + "\r\n", id="together"),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_headers_that_are_too_large_are_refused_as_such(self, gateway, method, fields):
        with RawClient(gateway) as client:
            client.send(f"{method} /images HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
            status, headers, problem = client.read_problem()
            assert (status, problem["code"]) == (431, "headers-too-large")
            assert headers["connection"] == "close"
            assert headers["x-request-id"] == problem["request_id"]
            assert client.read_some() == b""

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            pytest.param("hello\r\n\r\n", "bad-request", id="no HTTP"),
            pytest.param(f"GET /{'a' * 9_000} HTTP/1.1\r\n\r\n", "target-too-long", id="target"),
            pytest.param(
                f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'a' * 33_000}\r\n\r\n",
                "headers-too-large",
                id="headers",
            ),
            pytest.param(
                "GET /images/none HTTP/1.1\r\nHost: localhost\r\n"
                "Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n",
                "image-not-found",
                id="upgrade",
            ),
            pytest.param(
                "POST /images/none HTTP/1.1\r\nHost: localhost\r\n"
                "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                "bad-request",
                id="framing beside an early answer",
            ),
        ],
    )
    def test_a_broken_request_is_no_warning(self, gateway, sent, code):
        seen = len(gateway.output)
        for _ in range(3):
            with RawClient(gateway) as client:
                client.send(sent.encode())
                problem = client.read_problem()[-1]
                assert problem["code"] == code
                gateway.await_output(problem["request_id"])
        lines = [json.loads(line) for line in gateway.output[seen:]]
        assert {(each["event"], each["level"]) for each in lines} == {("request", "info")}

    @pytest.mark.parametrize(
        ("head", "line"),
        [
            ("GET /images?limit=0 HTTP/1.1", "422 Unprocessable Content"),
            (f"GET /{'a' * 9_000} HTTP/1.1", "414 URI Too Long"),
            ("hello", "400 Bad Request"),
            (
                f"GET /images HTTP/1.1\r\nX: {'a' * 33_000}",
                "431 Request Header Fields Too Large",
            ),
            (
                f"POST /images HTTP/1.1\r\nContent-Length: {LIMIT + 1}",
                "413 Content Too Large",
            ),
        ],
    )
    def test_reason_phrases_are_those_of_the_standard(self, gateway, head, line):
        with RawClient(gateway) as client:
            client.send(f"{head}\r\nHost: localhost\r\n\r\n".encode())
            assert client.read_some().startswith(f"HTTP/1.1 {line}\r\n".encode())

    def test_a_path_with_a_slash_too_many_is_not_redirected(self, gateway):
        with gateway.client() as client:
            response = client.get("/images/", headers={"Host": "elsewhere.localhost"})
            assert response.status_code == 404
            assert response.headers["content-type"] == "application/problem+json"
