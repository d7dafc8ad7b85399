"""Web sites: the names under which they reach the gateway, and what their pages may change."""

import pytest
from structlog.testing import capture_logs

from app.telemetry import metrics
from tests.support import images
from tests.support.in_process import problem

OURS = "http://localhost"
APP = "https://app.example"
EVIL = "http://evil.test"
JPEG = images.jpeg(images.photo((64, 48)))
CHANGES = [("POST", "/images"), ("DELETE", f"/images/{'a' * 32}"), ("PATCH", "/nothing")]


async def stored(client):
    return (await client.get("/images")).json()["images"]


def refused(reason):
    return metrics.REQUESTS_REFUSED.labels(reason)._value.get()


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            *("localhost", "localhost:8080", "LocalHost:1", "localhost.", "localhost:"),
            *("gateway.localhost", "a.b.localhost:3000", "127.0.0.1", "127.0.0.1:8080"),
            *("192.168.1.5", "8.8.8.8", "[::1]", "[::1]:8080", "[FE80:0::1]", "[::ffff:1.2.3.4]"),
        ],
    )
    async def test_loopback_names_and_addresses_are_served(self, client, host):
        assert (await client.get("/images", headers={"host": host})).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            *("evil.test", "evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test"),
            *("notlocalhost", ".localhost", "localhost..", "local\u212aost".encode(), "127.1"),
            *("localhost@evil.test", "evil.test@localhost", "localhost:80@evil.test", "a:b@[::1]"),
            *("", ":8080", "localhost:http", "localhost:-1", "localhost:123456", "localhost/"),
            *("::1", "[::1", "[evil.test]", "[::1].evil.test", "[v1.a]", "[1:2:3]", "1.2.3.4.5"),
            *("localhost,evil.test", "local host", "http://localhost", "%6cocalhost", "\x00"),
            "a" * 30_000 + ".localhost",
        ],
    )
    async def test_any_other_is_a_421(self, client, host):
        response = await client.get("/images", headers={"host": host})
        problem(response, 421, "misdirected-request")
        assert response.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("hosts", [[], ["localhost", "evil.test"], ["localhost", "localhost"]])
    async def test_none_and_several_are_a_421(self, client, hosts):
        request = client.build_request("GET", "/images")
        del request.headers["host"]
        request.headers = type(request.headers)(
            [*request.headers.multi_items(), *(("host", each) for each in hosts)]
        )
        problem(await client.send(request), 421, "misdirected-request")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"])
    @pytest.mark.parametrize("path", ["/", "/nothing", "/web/index.js", "/metrics", "/healthy"])
    async def test_every_method_and_path_is_refused_to_a_rebound_name(self, client, method, path):
        headers = {"host": "evil.test", "origin": EVIL, "sec-fetch-site": "same-origin"}
        response = await client.request(method, path, headers=headers)
        assert response.status_code == 421

    async def test_probes_may_name_any_host(self, client):
        for path in ("/health/live", "/health/ready"):
            for host in ("gateway.default.svc", ""):
                response = await client.get(path, headers={"host": host})
                assert response.status_code == 200

    async def test_beyond_loopback_any_name_is_served_and_what_is_no_name_is_not(self, gateways):
        client = await gateways(insecure=True, http={"host": "0.0.0.0"})  # noqa: S104 - nothing listens
        for host in ("images.example", "evil.test:8080", "10.0.0.1"):
            assert (await client.get("/images", headers={"host": host})).status_code == 200
        response = await client.get("/images", headers={"host": "a@b"})
        problem(response, 421, "misdirected-request")

    @pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - as above
    async def test_names_that_are_set_take_the_place_of_the_default(self, gateways, listening):
        hosts = "Images.Example, *.pictures.example"
        client = await gateways(insecure=True, http={"host": listening, "hosts": hosts})
        statuses = {
            "images.example": 200,
            "IMAGES.example.:443": 200,
            "a.b.pictures.example": 200,
            "127.0.0.1": 200,
            "pictures.example": 421,
            "xpictures.example": 421,
            "a.images.example": 421,
            "localhost": 421,
        }
        for host, status in statuses.items():
            response = await client.get("/images", headers={"host": host})
            assert (host, response.status_code) == (host, status)

    async def test_a_refusal_is_logged_and_counted(self, client):
        before = refused("host")
        with capture_logs() as logs:
            headers = {"host": "evil.test", "origin": EVIL, "x-request-id": "find-me"}
            await client.get("/images", headers=headers)
        events = {each["event"]: each for each in logs}
        assert events["request_refused"] == {
            "event": "request_refused",
            "log_level": "warning",
            "reason": "host",
            "code": "misdirected-request",
            "detail": "The gateway has no such host name; its operator can add one to"
            " IMAGEGATE_HTTP__HOSTS.",
            "method": "GET",
            "path": "/images",
            "host": "evil.test",
            "origin": EVIL,
            "client": "127.0.0.1",
            "request_id": "find-me",
            "count": 1,
        }
        assert events["request"]["status"] == 421
        assert refused("host") == before + 1


class TestOrigin:
    @pytest.mark.parametrize(("method", "path"), CHANGES)
    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": EVIL},
            {"origin": "null"},
            {"origin": "null", "sec-fetch-site": "same-origin"},
            {"origin": ""},
            {"origin": "localhost"},
            {"origin": "https://localhost"},
            {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
            {"origin": "http://127.0.0.1"},
            {"origin": "http://localhost.evil.test"},
            {"origin": "http://localhost@evil.test"},
            {"origin": "http://localhost/ http://evil.test"},
            {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
            {"origin": APP, "sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )
    async def test_a_page_of_another_origin_changes_nothing(self, client, method, path, headers):
        response = await client.request(method, path, headers=headers, content=JPEG)
        body = problem(response, 403, "cross-site")
        assert not body["retryable"]
        assert response.headers["connection"] == "close"
        assert await stored(client) == []

    async def test_two_origins_are_those_of_no_page(self, gateways):
        client = await gateways(http={"cors_origins": APP})
        headers = [("origin", APP), ("origin", APP)]
        response = await client.post("/images", headers=headers, content=JPEG)
        problem(response, 403, "cross-site")

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"origin": OURS},
            {"origin": OURS, "sec-fetch-site": "same-origin"},
            {"origin": OURS, "sec-fetch-site": "same-site"},
            {"origin": "http://localhost:80"},
            {"origin": "http://localhost:8080", "host": "LOCALHOST.:8080"},
            {"origin": "http://[::1]:8080", "host": "[0::1]:8080"},
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "none"},
            # Behind a proxy that ends TLS.
            {"origin": "https://localhost", "sec-fetch-site": "same-origin"},
        ],
    )
    async def test_our_own_pages_and_programs_upload(self, client, headers):
        response = await client.post("/images", headers=headers, content=JPEG)
        assert response.status_code == 201

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_reading_is_answered_without_leave_to_see_it(self, client, method):
        headers = {"origin": EVIL, "sec-fetch-site": "cross-site"}
        response = await client.request(method, "/openapi.json", headers=headers)
        assert response.status_code != 403
        assert "access-control-allow-origin" not in response.headers

    async def test_a_refusal_is_logged_and_counted(self, client):
        before = refused("origin")
        with capture_logs() as logs:
            await client.post("/images", headers={"origin": EVIL + "x" * 500}, content=JPEG)
        [event] = [each for each in logs if each["event"] == "request_refused"]
        assert (event["reason"], event["method"]) == ("origin", "POST")
        assert len(event["origin"]) == 200
        assert refused("origin") == before + 1
