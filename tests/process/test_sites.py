"""Hosts and origins on the wire: targets that are whole addresses, and headers by hand."""

import pytest

from tests.support import images
from tests.support.credentials import make_key
from tests.support.gateway_process import GatewayProcess
from tests.support.raw_http import RawClient

JPEG = images.jpeg(images.photo((64, 48)))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites") / "data"
    settings = {"IMAGEGATE_IMAGING__WORKERS": 1, "IMAGEGATE_HTTP__LINGER_SECONDS": 0.2}
    with GatewayProcess(folder, **settings) as process:
        yield process.start()
        assert process.mistakes() == []


def answer(gateway, *lines, body=b""):
    """Return status, headers and body of the answer to a request that is written line by line."""
    with RawClient(gateway) as client:
        client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        status, headers = client.read_head()
        return status, headers, client.read_body(headers)


def stored(gateway):
    with gateway.client() as client:
        return client.get("/images").json()["images"]


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("http://localhost/images", 200),
            ("HTTP://LOCALHOST.:1234/images?limit=1", 200),
            ("https://127.0.0.1/images", 200),
            ("http://[::1]:8080/images", 200),
            ("http://localhost?x=1", 200),
            ("http://localhost", 200),
            ("http://localhost//", 404),
            ("//evil.test/images", 404),
            ("http://evil.test/images", 421),
            ("http://evil.test", 421),
            ("http://localhost@evil.test/images", 421),
            ("http://evil.test@localhost/images", 421),
            ("http://evil.test:80?@localhost/images", 421),
            ("http://evil.test#@localhost/images", 421),
            ("http://localhost\\@evil.test/images", 421),
            ("http://evil.test/health/live", 200),
            ("http:///images", 400),
            ("ftp://localhost/images", 400),
        ],
    )
    def test_its_host_counts_in_place_of_the_header(self, gateway, target, status):
        for host in ("localhost", "evil.test"):
            # What is no whole address is for the host of the header.
            expected = 421 if target.startswith("//") and host == "evil.test" else status
            assert answer(gateway, f"GET {target} HTTP/1.1", f"Host: {host}")[0] == expected

    def test_it_uploads_and_its_origin_is_that_of_the_page(self, gateway):
        before = len(stored(gateway))
        for origin, status in (
            ("http://localhost:1", 201),
            ("http://evil.test", 403),
            ("http://localhost", 403),
        ):
            seen, headers, _ = answer(
                gateway,
                "POST http://localhost:1/images HTTP/1.1",
                "Host: evil.test",
                f"Origin: {origin}",
                f"Content-Length: {len(JPEG)}",
                body=JPEG,
            )
            assert (origin, seen) == (origin, status)
            assert headers["x-request-id"]
        assert len(stored(gateway)) == before + 1

    @pytest.mark.parametrize("target", ["*", "localhost:443", "evil.test:443"])
    def test_other_forms_lead_nowhere(self, gateway, target):
        # An OPTIONS of * asks about the server: tests/api/test_methods.py.
        for method in ("CONNECT", "GET") if target == "*" else ("OPTIONS", "CONNECT", "GET"):
            status = answer(gateway, f"{method} {target} HTTP/1.1", "Host: localhost")[0]
            assert status in (404, 405)


class TestHost:
    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            (["GET /images HTTP/1.1"], 400),
            (["GET /images HTTP/1.1", "Host: localhost", "Host: localhost"], 400),
            (["GET /images HTTP/1.1", "Host: localhost", "HOST: evil.test"], 400),
            (["GET /images HTTP/1.0"], 421),
            (["GET /images HTTP/1.0", "Host: localhost"], 200),
            (["GET /health/live HTTP/1.0"], 200),
            (["GET /images HTTP/1.1", "Host:"], 421),
            (["GET /images HTTP/1.1", "Host:  localhost  "], 200),
            (["GET /images HTTP/1.1", "Host: localhost\x00.evil.test"], 400),
            (["GET /images HTTP/1.1", "Host: localh\xf6st"], 421),
            (["GET /images HTTP/1.1", "Host: evil.test", "X-Forwarded-Host: localhost"], 421),
        ],
    )
    def test_a_request_names_one_host_that_is_ours(self, gateway, lines, status):
        assert answer(gateway, *lines)[0] == status

    def test_an_upload_without_a_key_is_not_asked_for_its_body(self, new_gateway, tmp_path):
        make_key(tmp_path, "images:read")
        gateway = new_gateway(data_dir=tmp_path)
        with RawClient(gateway) as client:
            client.send_head("POST", "/images", Content_Length=100, Expect="100-continue")
            status, headers, problem = client.read_problem()
        assert (status, problem["code"]) == (401, "credential-required")
        assert headers["www-authenticate"].startswith("Bearer ")

    def test_an_upload_that_is_refused_is_not_asked_for_its_body(self, gateway):
        before = stored(gateway)
        for extra, code in (("Host: evil.test", 421), ("Host: localhost\r\nOrigin: null", 403)):
            status, headers, _ = answer(
                gateway,
                "POST /images HTTP/1.1",
                extra,
                "Content-Length: 20000000",
                "Expect: 100-continue",
            )
            assert status == code
            assert headers["connection"] == "close"
            gateway.await_output(headers["x-request-id"])
        assert stored(gateway) == before
