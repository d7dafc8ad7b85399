"""Pages of other origins: what allowed ones may do, and what may embed an answer."""

import pytest

from app.api.headers import EXPOSE_HEADERS
from tests.support import images
from tests.support.described import DOCUMENT, resolve
from tests.support.in_process import problem

OURS = "http://localhost"
APP = "https://app.example"
EVIL = "http://evil.test"
JPEG = images.jpeg(images.photo((64, 48)))
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "x-request-id",
}
CORS = {"access-control-allow-origin", "access-control-expose-headers", "vary"}
# A script may read these of any answer (Fetch standard, section 2.2.2), and needs no policies.
UNEXPOSED = {
    "Content-Encoding",
    *("Cache-Control", "Content-Length", "Content-Security-Policy", "X-Content-Type-Options"),
    *("X-Accel-Buffering", "Cross-Origin-Resource-Policy"),
    *("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary"),
}


@pytest.fixture
async def allowing(gateways):
    """A client of a gateway that allows the pages of one origin."""
    return await gateways(http={"cors_origins": APP})


class TestAllowedOrigins:
    async def test_an_allowed_page_uploads_reads_and_deletes(self, allowing):
        headers = {"origin": APP, "sec-fetch-site": "cross-site"}
        uploaded = await allowing.post("/images", headers=headers, content=JPEG)
        assert uploaded.status_code == 201
        url = uploaded.json()["url"]
        answers = [
            uploaded,
            await allowing.get(url, headers=headers),
            await allowing.head(url, headers=headers),
            await allowing.get(url, headers=headers | {"if-none-match": uploaded.headers["etag"]}),
            await allowing.get("/images", headers=headers),
            await allowing.delete(url, headers=headers),
        ]
        assert [each.status_code for each in answers] == [201, 200, 200, 304, 200, 204]
        for each in answers:
            assert each.headers["access-control-allow-origin"] == APP
            assert each.headers["access-control-expose-headers"] == EXPOSE_HEADERS.value
            # JSON depends on Accept-Encoding as well.
            assert each.headers["vary"].split(", ")[-1] == "Origin"
            assert "access-control-allow-credentials" not in each.headers

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/images/" + "a" * 32, 404),
            ("GET", "/nothing", 404),
            ("PUT", "/images", 405),
            ("POST", "/images", 415),
            ("GET", "/images?limit=0", 422),
        ],
    )
    async def test_it_reads_problems_too(self, allowing, method, path, status):
        response = await allowing.request(method, path, headers={"origin": APP}, content=b"x")
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == APP

    async def test_it_reads_what_is_refused_by_host_and_our_own_mistakes(
        self, allowing, monkeypatch
    ):
        async def fail(*_):
            raise RuntimeError

        monkeypatch.setattr(allowing.gateway.catalog, "newest", fail)
        for status, host in ((500, "localhost"), (421, "evil.test")):
            headers = {"origin": APP, "host": host}
            response = await allowing.get("/images", headers=headers)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == APP

    @pytest.mark.parametrize("origin", [None, OURS, EVIL, "null", "https://app.example:444"])
    async def test_no_other_page_may_read_and_caches_tell_them_apart(self, allowing, origin):
        headers = {"origin": origin} if origin else {}
        response = await allowing.get("/images", headers=headers)
        assert response.status_code == 200
        assert CORS & set(response.headers) == {"vary"}

    @pytest.mark.parametrize("path", ["/images", "/images/" + "a" * 32, "/streams/images"])
    async def test_a_preflight_says_what_an_allowed_page_may_send(self, allowing, path):
        response = await allowing.options(path, headers={"origin": APP} | PREFLIGHT)
        assert (response.status_code, response.content) == (204, b"")
        headers = response.headers
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-methods"] == "GET, HEAD, POST, DELETE, OPTIONS"
        assert int(headers["access-control-max-age"]) >= 600
        assert headers["vary"] == "Origin"
        assert headers["x-request-id"]
        declared = {
            each["name"]
            for item in DOCUMENT["paths"].values()
            for operation in item.values()
            for each in map(resolve, operation["parameters"])
            if each["in"] == "header"
        }
        allowed = set(headers["access-control-allow-headers"].split(", "))
        assert allowed == declared | {"Accept", "Content-Type", "Authorization", "X-API-Key"}

    @pytest.mark.parametrize("origin", [EVIL, "null"])
    async def test_the_preflight_of_any_other_page_is_a_problem(self, allowing, origin):
        response = await allowing.options("/images", headers={"origin": origin} | PREFLIGHT)
        problem(response, 403, "cross-site")
        assert not (CORS - {"vary"}) & set(response.headers)

    async def test_options_without_a_page_name_the_methods_and_allow_no_page(self, allowing):
        for path, method in (("/images", "POST"), ("/streams/images", "GET")):
            for headers in ({}, PREFLIGHT):
                response = await allowing.options(path, headers=headers)
                assert method in response.headers["allow"]
                assert not (CORS - {"vary"}) & set(response.headers)

    def test_every_header_with_something_to_read_is_exposed(self):
        sent = {
            name
            for item in DOCUMENT["paths"].values()
            for operation in item.values()
            for response in operation["responses"].values()
            for name in response["headers"]
        }
        assert set(EXPOSE_HEADERS.value.split(", ")) == sent - UNEXPOSED | {"Location"}


class TestEmbedding:
    async def test_no_other_page_embeds_any_answer(self, client):
        for path in ("/images", "/nothing", "/", "/health/live"):
            response = await client.get(path)
            assert response.headers["cross-origin-resource-policy"] == "same-origin"

    @pytest.mark.parametrize("embedding", ["same-origin", "cross-origin"])
    async def test_an_image_says_which_pages_may(self, gateways, embedding):
        client = await gateways(http={"embedding": embedding})
        uploaded = await client.post("/images", content=JPEG)
        url, etag = uploaded.json()["url"], uploaded.headers["etag"]
        answers = [
            await client.get(url),
            await client.get(url, headers={"range": "bytes=0-9"}),
            await client.head(url),
            await client.get(url, headers={"if-none-match": etag}),
        ]
        assert [each.status_code for each in answers] == [200, 206, 200, 304]
        for each in answers:
            assert each.headers["cross-origin-resource-policy"] == embedding
            assert each.headers["content-security-policy"] == "sandbox; default-src 'none'"
        # Not what is no image.
        for response in (await client.get("/images"), await client.get(f"{url}/metadata")):
            assert response.headers["cross-origin-resource-policy"] == "same-origin"

    async def test_lists_and_descriptions_are_kept_by_no_shared_cache(self, client):
        url = (await client.post("/images", content=JPEG)).json()["url"]
        for path in ("/images", f"{url}/metadata"):
            assert (await client.get(path)).headers["cache-control"] == "private, no-cache"

    async def test_pages_are_parted_from_windows_of_other_sites(self, client):
        for path in ("/", "/docs"):
            headers = (await client.get(path)).headers
            assert headers["cross-origin-opener-policy"] == "same-origin"
