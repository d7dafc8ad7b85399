"""Signed links: a credential in an address, for one operation with the options that it names."""

import asyncio
import re
import stat
from urllib.parse import parse_qsl, quote

import pytest
import structlog

from app import keyring
from app.access.links import Operation
from app.access.scopes import Scope
from app.api import small_body
from app.errors import ConfigurationError, InvalidLinkError
from app.main import create_app
from app.settings import load
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process, problem
from tests.support.links import changed, make
from tests.support.streamed import beginning


async def uploaded(client, key=None, **options):
    headers = bearer(key) if key else {}
    response = await client.post("/images", content=images.jpeg(), headers=headers, **options)
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
async def client(tmp_path):
    make_key(tmp_path, "ops:read")
    async with in_process(tmp_path) as client:
        yield client


@pytest.fixture
def keys(client, tmp_path):
    """Make keys of the gateway, which reads them at the next request."""

    def new(*scopes, **options):
        key = make_key(tmp_path, *scopes, **options)
        client.app_access._keys._looked = -1e9
        return key

    return new


class TestDownload:
    async def test_a_link_needs_no_other_credential(self, client, keys):
        key = keys("images:write", "images:read")
        image = await uploaded(client, key)
        problem(await client.get(image["url"]), 401, "credential-required")
        made = await make(client, key, kind="download", image_id=image["id"])
        assert made["url"].startswith(f"{image['url']}?")
        assert made["method"] == "GET"
        response = await client.get(made["url"])
        assert response.status_code == 200
        assert len(response.content) == image["content_length"]
        assert (await client.head(made["url"])).status_code == 200
        part = await client.get(made["url"], headers={"range": "bytes=0-9"})
        assert (part.status_code, len(part.content)) == (206, 10)

    async def test_it_is_for_that_image_and_that_operation_alone(self, client, keys):
        key = keys("admin")
        image, other = await uploaded(client, key), await uploaded(client, key)
        made = await make(client, key, kind="download", image_id=image["id"])
        query = made["url"].partition("?")[2]
        problem(await client.get(f"{other['url']}?{query}"), 403, "invalid-link")
        for method, path in (
            ("GET", f"{image['url']}/metadata"),
            ("DELETE", image["url"]),
            ("GET", "/images"),
            ("POST", "/images"),
            ("POST", "/links"),
            ("GET", "/streams/images"),
            ("GET", "/metrics"),
            ("GET", "/nothing"),
            ("PUT", image["url"]),
        ):
            problem(await client.request(method, f"{path}?{query}"), 403, "invalid-link")

    async def test_nothing_in_it_can_be_changed(self, client, keys):
        key = keys("images:write", "images:read")
        image = await uploaded(client, key)
        url = (await make(client, key, kind="download", image_id=image["id"]))["url"]
        for change in (
            {"expires": "9999999999"},
            {"by": "key:AAAAAAAAAAA"},
            {"link": "x"},
            {"signature": "A" * 43},
            {"signature": "é"},
            {"by": None},
            {"width": "10"},
            {"sees": "all"},
        ):
            problem(await client.get(changed(url, **change)), 403, "invalid-link")
        problem(await client.get(f"{url}&link=x"), 403, "invalid-link")
        problem(await client.get(url + "&a=1" * 40), 403, "invalid-link")
        problem(await client.get(f"{image['url']}?signature="), 403, "invalid-link")
        # Not what it says is signed, but how it is written: proxies write it anew.
        rewritten = "&".join(reversed(quote(url.partition("?")[2], safe="=&").split("&")))
        assert (await client.get(f"{image['url']}?{rewritten}")).status_code == 200

    async def test_it_ends(self, client, keys):
        key = keys("images:write", "images:read")
        image = await uploaded(client, key)
        wanted = {"kind": "download", "image_id": image["id"], "expires_in_seconds": 60}
        url = (await make(client, key, **wanted))["url"]
        now = client.app_access.links._clock()
        client.app_access.links._clock = lambda: now + 61
        problem(await client.get(url), 403, "link-expired")

    async def test_it_ends_with_the_key_of_its_maker(self, client, keys, tmp_path):
        key = keys("images:write", "images:read")
        image = await uploaded(client, key)
        url = (await make(client, key, kind="download", image_id=image["id"]))["url"]
        (tmp_path / "keys.json").unlink()
        keys("ops:read")
        problem(await client.get(url), 403, "invalid-link")

    async def test_one_credential_is_enough_and_two_are_refused(self, client, keys):
        key = keys("images:write", "images:read")
        image = await uploaded(client, key)
        url = (await make(client, key, kind="download", image_id=image["id"]))["url"]
        problem(await client.get(url, headers=bearer(key)), 401, "invalid-credential")

    async def test_only_of_an_image_that_is_there(self, client, keys):
        key = keys("admin")
        body = {"kind": "download", "image_id": "a" * 32}
        problem(await client.post("/links", json=body, headers=bearer(key)), 404, "image-not-found")
        image = await uploaded(client, key)
        url = (await make(client, key, kind="download", image_id=image["id"]))["url"]
        assert (await client.delete(image["url"], headers=bearer(key))).status_code == 204
        problem(await client.get(url), 410, "image-gone")
        body = {"kind": "download", "image_id": image["id"]}
        problem(await client.post("/links", json=body, headers=bearer(key)), 410, "image-gone")


class TestOwners:
    async def test_a_download_link_reads_what_its_maker_can_and_nobody_else(self, client, keys):
        owner, other = keys("images:write", "images:read"), keys("images:read")
        image = await uploaded(client, owner)
        problem(await client.get(image["url"], headers=bearer(other)), 404, "image-not-found")
        body = {"kind": "download", "image_id": image["id"]}
        refusal = await client.post("/links", json=body, headers=bearer(other))
        problem(refusal, 404, "image-not-found")
        response = await client.get((await make(client, owner, **body))["url"])
        assert response.status_code == 200
        assert response.headers["cache-control"] == "private, no-cache"
        admin = keys("admin")
        assert (await client.get((await make(client, admin, **body))["url"])).status_code == 200

    async def test_a_stream_link_shows_what_its_maker_sees(self, client, keys):
        owner, other = (keys("images:write", "streams:read") for _ in range(2))
        ids = {(await uploaded(client, key))["id"]: key for key in (owner, other, owner)}
        newest = list(ids)[-1].encode()
        for key, seen in ((owner, {owner}), (keys("admin"), {owner, other})):
            url = (await make(client, key, kind="stream", stream="images"))["url"]
            status, body = await beginning(
                client, url, {"last-event-id": "-1"}, lambda body: newest in body
            )
            assert status == 200
            found = re.findall(rb'"id": ?"(\w+)"', body)
            assert {ids[each.decode()] for each in found} == seen
            url = (await make(client, key, kind="stream", stream="images.mjpeg"))["url"]
            status, body = await beginning(
                client, url, {}, lambda body: b"Content-Location" in body
            )
            assert (status, newest in body) == (200, True)
            if key is owner:
                problem(await client.get(changed(url, sees="all")), 403, "invalid-link")


class TestMaking:
    @pytest.mark.parametrize(
        ("kind", "needed"), [("download", "images:read"), ("stream", "streams:read")]
    )
    async def test_nobody_passes_on_what_they_may_not_do(self, client, keys, kind, needed):
        body = {"kind": kind, "image_id": "a" * 32} if kind == "download" else {"kind": kind}
        body |= {"stream": "images"} if kind == "stream" else {}
        problem(await client.post("/links", json=body), 401, "credential-required")
        for scopes in (["ops:read"], ["images:list", "images:delete", "images:write"]):
            response = await client.post("/links", json=body, headers=bearer(keys(*scopes)))
            assert needed in problem(response, 403, "insufficient-scope")["detail"]
        for scopes in ([needed], ["admin"]):
            response = await client.post("/links", json=body, headers=bearer(keys(*scopes)))
            assert response.status_code == (404 if kind == "download" else 201)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            {"kind": "other"},
            {"kind": "download"},
            {"kind": "download", "image_id": "a" * 65},
            {"kind": "download", "image_id": "a" * 32, "expires_in_seconds": 604_801},
            {"kind": "download", "image_id": "a" * 32, "expires_in_seconds": 0},
            {"kind": "download", "image_id": "a" * 32, "more": 1},
            {"kind": "stream", "stream": "images", "expires_in_seconds": 301},
            {"kind": "stream", "stream": "images", "width": 640},
            {"kind": "stream", "stream": "others"},
        ],
        ids=str,
    )
    async def test_what_is_not_allowed_is_a_422(self, gateways, body):
        client = await gateways()
        problem(await client.post("/links", json=body), 422, "invalid-parameter")

    async def test_a_member_that_there_is_not_is_named(self, gateways):
        body = {"kind": "download", "image_id": "a" * 32, "expires_in": 60}
        refusal = await (await gateways()).post("/links", json=body)
        detail = problem(refusal, 422, "invalid-parameter")["detail"]
        assert detail == "body download expires_in: There is no such name here."

    async def test_the_body_is_small_and_json(self, gateways):
        client = await gateways()
        json_type = {"content-type": "application/json"}
        refusal = await client.post("/links", content=b" " * 20_000, headers=json_type)
        problem(refusal, 413, "body-too-large")
        refusal = await client.post("/links", content=b"{}")
        problem(refusal, 415, "unsupported-media-type")
        assert refusal.headers["accept"] == "application/json"
        problem(
            await client.post("/links", content=b"{", headers=json_type), 422, "invalid-parameter"
        )
        nested = await client.post("/links", content=b"[" * 16_000, headers=json_type)
        assert nested.status_code in (400, 422)

    async def test_a_body_that_does_not_come_is_not_awaited_for_long(self, gateways, monkeypatch):
        monkeypatch.setattr(small_body, "_PATIENCE_SECONDS", 0.01)
        client = await gateways(http={"linger_seconds": 0.01})

        async def silent():
            await asyncio.Event().wait()
            yield b""

        headers = {"content-type": "application/json"}
        refusal = await client.post("/links", content=silent(), headers=headers)
        problem(refusal, 408, "request-timeout")

    async def test_it_leaves_a_line_and_no_line_has_a_signature(self, client, keys):
        key = keys("images:write", "images:read")
        image = await uploaded(client, key)
        with structlog.testing.capture_logs() as lines:
            made = await make(client, key, kind="download", image_id=image["id"])
            await client.get(made["url"])
            problem(await client.get(changed(made["url"], link="x")), 403, "invalid-link")
            problem(await client.put(made["url"]), 403, "invalid-link")
            await client.get(made["url"].replace("?", "%3F"))
            await client.get(f"/{key}{'x' * 2_000}")
        [line] = [each for each in lines if each["event"] == "link_made"]
        assert line["link"] == made["link"]
        assert line["principal"] == f"key:{key.split('_')[1]}"
        assert (line["path"], line["client"]) == (image["url"], "127.0.0.1")
        used = [each for each in lines if each.get("link") == made["link"] and "status" in each]
        assert [each["status"] for each in used] == [200]
        denied = [each for each in lines if each["event"] == "access_denied"]
        assert len(denied) == 4
        for each in denied[:2]:
            assert each["path"] == image["url"]
        secret = dict(parse_qsl(made["url"].partition("?")[2]))["signature"]
        assert secret not in str(lines)
        assert "signature=" not in str(lines)
        assert key.rpartition("_")[2] not in str(lines)
        assert max(len(each.get("path", "")) for each in lines) <= 200


class TestKeys:
    async def test_the_first_link_makes_a_key_that_only_the_owner_reads(
        self, client, keys, tmp_path
    ):
        file = tmp_path / "link-keys"
        assert not file.exists()
        await make(client, keys("streams:read"), kind="stream", stream="images")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        first = file.read_text()
        await make(client, keys("streams:read"), kind="stream", stream="images")
        assert file.read_text() == first

    async def test_a_file_that_is_none_of_keys_is_not_overwritten(self, client, keys, tmp_path):
        (tmp_path / "link-keys").write_text("mine")
        client.app_access.links._keys._file._looked = -1e9
        body, headers = {"kind": "stream", "stream": "images"}, bearer(keys("streams:read"))
        refusal = await client.post("/links", json=body, headers=headers)
        problem(refusal, 500, "internal-error")
        assert (tmp_path / "link-keys").read_text() == "mine"

    async def test_every_key_verifies_and_the_first_one_signs(self, tmp_path):
        file = tmp_path / "keys-of-links"
        old, new = keyring.text_of("old", b"o" * 32), keyring.text_of("new", b"n" * 32)
        file.write_text(f"{old}\n")
        access = {"link_keys_file": file}
        async with (
            in_process(tmp_path / "a", access=access) as client,
            in_process(tmp_path / "b", access=access) as other,
        ):

            def rotate(*keys):
                file.write_text("\n".join(keys))
                for each in (client, other):
                    each.app_access.links._keys._file._looked = -1e9

            wanted = {"kind": "stream", "stream": "images.mjpeg"}
            first = (await make(client, **wanted))["url"]
            assert accepted(other, first)
            rotate(new, old)
            second = (await make(client, **wanted))["url"]
            for each in (first, second):
                assert accepted(other, each)
            rotate(new)
            assert not accepted(other, first)
            assert accepted(other, second)
            # A mistake in the file changes nothing.
            rotate("nonsense")
            assert accepted(other, second)

    @pytest.mark.parametrize(
        "content",
        [None, "", "k1:c2hvcnQ=", "k1", f"{keyring.text_of('k1', b'k' * 32)}{' ' * 16_384}"],
        ids=["missing", "empty", "short", "name", "large"],
    )
    def test_a_named_file_that_is_none_is_an_error_at_the_start(self, tmp_path, content):
        file = tmp_path / "keys-of-links"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigurationError, match="keys of links") as failure:
            create_app(load(data_dir=tmp_path, access={"link_keys_file": file}))
        assert "c2hvcnQ" not in str(failure.value)


def accepted(client, url):
    """Whether a gateway accepts a link to the live pictures, which have no end, by its guard."""
    path, _, query = url.partition("?")
    try:
        client.app_access.linked(Operation(Scope.STREAMS, path), query.encode())
    except InvalidLinkError:
        return False
    return True


class TestWithoutAuthentication:
    async def test_links_work_too(self, gateways):
        client = await gateways()
        image = await uploaded(client)
        made = await make(client, kind="download", image_id=image["id"])
        assert (await client.get(made["url"])).status_code == 200
        # A client may send what nobody asked for.
        assert (await client.get(made["url"], headers=bearer("x"))).status_code == 200
        problem(await client.get(changed(made["url"], link="x")), 403, "invalid-link")

    async def test_they_end_when_a_credential_is_needed(self, gateways, tmp_path):
        client = await gateways()
        image = await uploaded(client)
        made = await make(client, kind="download", image_id=image["id"])
        make_key(tmp_path / "data", "images:read")
        client.app_access._keys._looked = -1e9
        problem(await client.get(made["url"]), 403, "invalid-link")
