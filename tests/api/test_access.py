"""Who may do what: every route, with every kind of credential, before its body is read."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
import structlog

from app import given_file
from app.access import key_file
from app.access.scopes import Scope
from app.api.guard import is_declared, scope_of, takes_link
from app.errors import ConfigurationError
from app.main import create_app
from app.settings import Settings
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process, problem
from tests.support.routes import routes

# What opens without a credential, as the documents say.
OPEN = {
    "OPTIONS /images",
    "GET /health/live",
    "GET /health/ready",
    "GET /",
    "HEAD /",
    "GET /docs",
    "HEAD /docs",
    "GET /web/{path}",
    "HEAD /web/{path}",
    "GET /openapi.json",
}
NEEDED = {
    "POST /images": "images:write",
    "POST /images/batch": "images:write",
    "GET /images": "images:list",
    "GET /images/{image_id}": "images:read",
    "HEAD /images/{image_id}": "images:read",
    "GET /images/{image_id}/metadata": "images:read",
    "DELETE /images/{image_id}": "images:delete",
    "GET /streams/images": "streams:read",
    "GET /streams/images.mjpeg": "streams:read",
    "GET /metrics": "ops:read",
}
# An image may be public, so that only its handler knows.
OR_PUBLIC = {"GET /images/{image_id}", "HEAD /images/{image_id}"}
# What takes a signed link in place of a scope.
OR_LINK = {
    *OR_PUBLIC,
    "POST /images",
    "POST /images/batch",
    "GET /streams/images",
    "GET /streams/images.mjpeg",
}
# What needs a credential, and asks for a scope by the body.
ANY = {"POST /links"}


@pytest_asyncio.fixture
async def client(tmp_path):
    make_key(tmp_path, "ops:read")
    async with in_process(tmp_path) as client:
        yield client


class TestRoutes:
    def test_each_declares_its_scope_and_the_documents_know_them(self):
        declared = {}
        for name, endpoint in routes():
            assert is_declared(endpoint), f"{name} does not say who may use it"
            declared[name] = scope_of(endpoint)
        assert {name for name, scope in declared.items() if scope is None} == OPEN
        assert {name for name, scope in declared.items() if scope is True} == ANY
        needed = {name: scope for name, scope in declared.items() if isinstance(scope, Scope)}
        assert needed == NEEDED
        assert {name for name, endpoint in routes() if takes_link(endpoint)} == OR_LINK

    @pytest.mark.parametrize("route", sorted(NEEDED))
    async def test_every_kind_of_credential(self, tmp_path, route):
        needed, now = NEEDED[route], datetime.now(UTC)
        others = [scope.value for scope in Scope if scope not in (needed, Scope.ADMIN)]
        keys = {
            "right": make_key(tmp_path, needed),
            "admin": make_key(tmp_path, "admin"),
            "others": make_key(tmp_path, *others),
            "expired": make_key(tmp_path, needed, expires_at=now - timedelta(seconds=1)),
            "revoked": make_key(tmp_path, needed, revoked_at=now),
        }
        method, path = route.split()
        path = path.replace("{image_id}", "a" * 32)
        if path.startswith("/streams"):
            # A stream without end would not come back: this one is refused by its handler.
            path += "?width=none" if path.endswith("mjpeg") else ""
        headers = {"last-event-id": "9"} if path == "/streams/images" else {}
        async with in_process(tmp_path) as client:

            async def ask(**given):
                return await client.request(method, path, headers=headers | given)

            if method == "HEAD":
                assert (await ask()).status_code == 401
                assert (await ask(**bearer(keys["others"]))).status_code == 403
            else:
                refusal = await ask()
                problem(refusal, 401, "credential-required")
                assert refusal.headers["www-authenticate"] == 'Bearer realm="imagegate"'
                for bad in (keys["expired"], keys["revoked"], keys["right"][:-1], "", "a b"):
                    for given in (bearer(bad), {"x-api-key": bad}):
                        refusal = await ask(**given)
                        problem(refusal, 401, "invalid-credential")
                        assert 'error="invalid_token"' in refusal.headers["www-authenticate"]
                both = bearer(keys["right"]) | {"x-api-key": keys["right"]}
                problem(await ask(**both), 401, "invalid-credential")
                refusal = await ask(**bearer(keys["others"]))
                assert needed in problem(refusal, 403, "insufficient-scope")["detail"]
                assert f'scope="{needed}"' in refusal.headers["www-authenticate"]
            for good in (keys["right"], keys["admin"]):
                for given in (bearer(good), {"x-api-key": good}):
                    assert (await ask(**given)).status_code not in (401, 403)

    @pytest.mark.parametrize("route", sorted(OPEN))
    async def test_what_is_open_needs_none_and_ignores_a_bad_one(self, client, route):
        method, path = route.split()
        path = path.replace("{path}", "index.js")
        for headers in ({}, bearer("wrong")):
            assert (await client.request(method, path, headers=headers)).status_code == 200

    async def test_a_path_that_does_not_exist_is_denied_to_strangers_only(self, client, tmp_path):
        problem(await client.get("/nothing"), 401, "credential-required")
        problem(await client.put("/images"), 401, "credential-required")
        key = make_key(tmp_path, "ops:read")
        client.app_access._keys._looked = -1e9
        problem(await client.get("/nothing", headers=bearer(key)), 404, "not-found")
        problem(await client.put("/images", headers=bearer(key)), 405, "method-not-allowed")

    @pytest.mark.parametrize("name", ["authorization", "x-api-key"])
    async def test_a_credential_is_shown_once(self, client, tmp_path, name):
        key = make_key(tmp_path, "images:list")
        client.app_access._keys._looked = -1e9
        given = (name, f"Bearer {key}" if name == "authorization" else key)
        assert (await client.get("/images", headers=[given])).status_code == 200
        for twice in ([given, given], [given, (name, "x")], [given, (name, "")]):
            problem(await client.get("/images", headers=twice), 401, "invalid-credential")

    async def test_options_need_no_credential(self, client):
        assert (await client.options("/images")).status_code == 200
        assert (await client.options("/streams/images")).status_code == 204


class TestWithout:
    async def test_on_loopback_without_a_key_everything_is_allowed(self, tmp_path):
        async with in_process(tmp_path) as client:
            image = (await client.post("/images", content=images.jpeg())).json()
            assert (await client.get("/images")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.delete(image["url"])).status_code == 204

    async def test_beyond_loopback_it_is_closed_though_there_is_no_key(self, tmp_path):
        async with in_process(tmp_path, http={"host": "0.0.0.0"}) as client:  # noqa: S104
            problem(await client.get("/images"), 401, "credential-required")
            problem(await client.get("/images", headers=bearer("x")), 401, "invalid-credential")

    async def test_a_file_of_keys_that_is_named_and_not_there_opens_nothing(self, tmp_path):
        named = tmp_path / "mounted" / "keys.json"
        async with in_process(tmp_path, access={"keys_file": named}) as client:
            problem(await client.get("/images"), 401, "credential-required")
            key = make_key(named.parent, "images:list")
            client.app_access._keys._looked = -1e9
            assert (await client.get("/images", headers=bearer(key))).status_code == 200
        access = {"keys_file": tmp_path / "nothing"}
        async with in_process(tmp_path, insecure=True, access=access) as client:
            assert (await client.get("/images")).status_code == 200

    async def test_the_first_key_closes_a_running_gateway_and_a_lost_file_does_not_open_it(
        self, tmp_path
    ):
        async with in_process(tmp_path) as client:
            assert (await client.get("/images")).status_code == 200
            key = make_key(tmp_path, "images:list")
            client.app_access._keys._looked = -1e9
            problem(await client.get("/images"), 401, "credential-required")
            assert (await client.get("/images", headers=bearer(key))).status_code == 200
            (tmp_path / "keys.json").unlink()
            client.app_access._keys._looked = -1e9
            problem(await client.get("/images", headers=bearer(key)), 401, "invalid-credential")
            problem(await client.get("/images"), 401, "credential-required")


class TestReadiness:
    async def test_reasons_are_for_those_who_may_know(self, client, tmp_path):
        key = make_key(tmp_path, "ops:read")
        client.app_access._keys._looked = -1e9
        client.gateway.feed.report("the topic has no leader")
        assert (
            "leader" not in problem(await client.get("/health/ready"), 503, "not-ready")["detail"]
        )
        told = await client.get("/health/ready", headers=bearer(key))
        assert "leader" in problem(told, 503, "not-ready")["detail"]


class TestFile:
    async def test_a_damaged_file_leaves_the_keys_as_they_were(self, tmp_path):
        key = make_key(tmp_path, "images:list")
        async with in_process(tmp_path) as client:
            (tmp_path / "keys.json").write_text("{")
            client.app_access._keys._looked = -1e9
            assert (await client.get("/images", headers=bearer(key))).status_code == 200

    async def test_one_that_could_not_be_read_is_tried_again_though_it_is_the_same(self, tmp_path):
        key = make_key(tmp_path, "images:list")
        file = tmp_path / "keys.json"
        async with in_process(tmp_path) as client:

            async def status():
                client.app_access._keys._looked = -1e9
                return (await client.get("/images", headers=bearer(key))).status_code

            with key_file.changing(file) as keys:
                keys[0] = keys[0].model_copy(update={"revoked_at": datetime.now(UTC)})
            with pytest.MonkeyPatch.context() as without_descriptors:
                without_descriptors.setattr(given_file, "read", self.refuse)
                with structlog.testing.capture_logs() as lines:
                    assert [await status() for _ in range(3)] == [200] * 3
                assert [each["event"] for each in lines].count("keys_unreadable") == 1
            assert await status() == 401

    def refuse(self, *_):
        raise OSError(errno.EMFILE, "Too many open files")

    @pytest.mark.parametrize("name", ["keys.json", "link-keys"])
    async def test_a_pipe_in_its_place_holds_nobody_up(self, tmp_path, name):
        key = make_key(tmp_path, "streams:read")
        async with in_process(tmp_path) as client:
            wanted = {"kind": "stream", "stream": "images"}
            await client.post("/links", json=wanted, headers=bearer(key))
            (tmp_path / name).unlink()
            os.mkfifo(tmp_path / name)
            client.app_access._keys._looked = client.app_access.links._keys._looked = -1e9
            answer = await client.post("/links", json=wanted, headers=bearer(key))
            assert answer.status_code == 201

    def test_one_that_has_an_id_twice_is_refused(self, tmp_path):
        make_key(tmp_path, "admin")
        file = tmp_path / "keys.json"
        said = json.loads(file.read_text())
        said["keys"] *= 2
        file.write_text(json.dumps(said))
        with pytest.raises(ConfigurationError, match="there are 2 keys"):
            key_file.read(file)

    def test_a_link_to_one_stays_a_link(self, tmp_path):
        (tmp_path / "shared").mkdir()
        (tmp_path / "keys.json").symlink_to(tmp_path / "shared" / "keys.json")
        for _ in range(2):
            make_key(tmp_path, "admin")
        assert (tmp_path / "keys.json").is_symlink()
        assert len(key_file.read(tmp_path / "shared" / "keys.json")) == 2

    def test_it_holds_no_secret(self, tmp_path):
        key = make_key(tmp_path, "admin")
        text = (tmp_path / "keys.json").read_text()
        assert key.rpartition("_")[2] not in text
        assert json.loads(text)["keys"][0]["id"] in key
        for name in ("keys.json", ".keys.json.lock"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_document_names_the_scope_of_each_operation():
    document = create_app(Settings.model_construct()).openapi()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey", "link"}
    found = {
        f"{method.upper()} {path}": operation.get("security", [])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    expected = {
        name: [{"bearer": [scope]}, {"apiKey": [scope]}]
        + [{"link": []}] * (name in OR_LINK)
        + [{}] * (name in OR_PUBLIC)
        for name, scope in NEEDED.items()
    } | {name: [{"bearer": []}, {"apiKey": []}] for name in ANY}
    assert found == {name: expected.get(name, []) for name in found}
