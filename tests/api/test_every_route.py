"""Every route, and what each kind of client is told there, of whose images.

They have no credential, an expired one, all scopes but the needed one, or are the owner of another
image, the owner, and an administrator.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from app.access.scopes import Scope
from app.api.guard import scope_of
from tests.support import images
from tests.support.credentials import bearer, make_key, owner_of
from tests.support.in_process import in_process
from tests.support.routes import routes
from tests.support.streamed import beginning

SCOPES = [scope.value for scope in Scope if scope is not Scope.ADMIN]
NEEDED = {name: scope_of(endpoint) for name, endpoint in routes()}
# Its body decides: here a link to download the owner's image is asked for.
NEEDED["POST /links"] = Scope.READ
MODULE = pytest.mark.asyncio(loop_scope="module")

# The owner's image is the newest, and the other one has an image too.
OTHERS, OWN, BOTH = {"other"}, {"own"}, {"other", "own"}


@dataclass(frozen=True)
class Told:
    """What the other owner, the owner and an administrator get: statuses, and whose images."""

    statuses: tuple[int, int, int]
    seen: tuple[set, set, set] | None = None


EVERYONE = Told((200, 200, 200))
OWNERS = Told((404, 200, 200))
TOLD = {
    "OPTIONS /images": EVERYONE,
    "POST /images": Told((201, 201, 201)),
    "POST /images/batch": Told((200, 200, 200)),
    "GET /images": Told((200, 200, 200), (OTHERS, OWN, BOTH)),
    "GET /images/{image_id}": OWNERS,
    "HEAD /images/{image_id}": OWNERS,
    "GET /images/{image_id}/metadata": OWNERS,
    "DELETE /images/{image_id}": Told((404, 204, 204)),
    "POST /links": Told((404, 201, 201)),
    "GET /streams/images": Told((200, 200, 200), (OTHERS, OWN, BOTH)),
    # The newest picture of those that each may see.
    "GET /streams/images.mjpeg": Told((200, 200, 200), (OTHERS, OWN, OWN)),
    "GET /metrics": EVERYONE,
    "GET /health/live": EVERYONE,
    "GET /health/ready": EVERYONE,
    "GET /": EVERYONE,
    "HEAD /": EVERYONE,
    "GET /docs": EVERYONE,
    "HEAD /docs": EVERYONE,
    "GET /web/{path}": EVERYONE,
    "HEAD /web/{path}": EVERYONE,
    "GET /openapi.json": EVERYONE,
}


class World:
    """A gateway with a key of each kind, and an image of the owner and of the other."""

    def __init__(self, client, folder):
        self.client = client
        self.keys = {
            "other": make_key(folder, *SCOPES),
            "owner": make_key(folder, *SCOPES),
            "admin": make_key(folder, "admin"),
            "expired": make_key(folder, *SCOPES, expires_at=datetime.now(UTC) - timedelta(1)),
        }
        for scope in SCOPES:
            lacking = [each for each in SCOPES if each != scope]
            self.keys[f"without {scope}"] = make_key(folder, *lacking)
        client.app_access._keys._looked = -1e9
        self.names = {}

    async def fill(self):
        await self.store("other")
        self.image = await self.store("own")

    async def store(self, whose):
        key = self.keys["other" if whose == "other" else "owner"]
        response = await self.client.post(
            "/images", content=images.jpeg(images.photo((32, 24))), headers=bearer(key)
        )
        assert response.status_code == 201, response.text
        self.names[response.json()["id"]] = whose
        return response.json()["id"]

    async def ask(self, route, kind):
        """Return the status, and whose images the answer shows."""
        method, path = route.split()
        headers = bearer(self.keys[kind]) if kind else {}
        path = path.replace("{image_id}", self.image).replace("{path}", "index.js")
        if path.startswith("/streams"):
            return await self._stream(path, headers)
        sent = {}
        if path == "/links":
            sent = {"json": {"kind": "download", "image_id": self.image}}
        elif path == "/images/batch":
            sent = {"files": {"file": b"no image"}}
        elif method == "POST":
            sent = {"content": images.jpeg(images.photo((16, 16)))}
        response = await self.client.request(method, path, headers=headers, **sent)
        if path == "/images" and response.status_code == 201:
            assert response.json()["owner"] == owner_of(self.keys[kind])
            await self.client.delete(response.json()["url"], headers=bearer(self.keys["admin"]))
        if method == "DELETE" and response.status_code == 204:
            self.image = await self.store("own")
        ids = re.findall(r'"id":\s*"([a-z2-7]{32})"', response.text)
        return response.status_code, {self.names[each] for each in ids if each in self.names}

    async def _stream(self, path, headers):
        """Follow a stream until the newest image of whom it is for has been shown."""
        if path.endswith("mjpeg"):
            status, body = await beginning(
                self.client, path, headers, lambda body: b"Content-Location" in body
            )
            ids = re.findall(rb"Content-Location: /images/(\w+)", body)
        else:
            # An event of its own ends it, so that a foreign one before it would be seen.
            headers = headers | {"last-event-id": "-1"}
            newest = self.image if headers.get("authorization") != self._other else self._others
            ended = f'"id":"{newest}"'.encode()
            status, body = await beginning(self.client, path, headers, lambda body: ended in body)
            ids = re.findall(rb'"id": ?"(\w+)"', body)
        return status, {self.names.get(each.decode(), "gone") for each in ids} - {"gone"}

    @property
    def _other(self):
        return bearer(self.keys["other"])["authorization"]

    @property
    def _others(self):
        return next(each for each, whose in self.names.items() if whose == "other")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    async with in_process(folder) as client:
        made = World(client, folder)
        await made.fill()
        yield made


def test_each_has_a_case():
    assert set(TOLD) == set(NEEDED), "a new route says here what each client is told"


@MODULE
@pytest.mark.parametrize("route", sorted(TOLD))
class TestRoute:
    async def test_without_a_credential_it_is_refused_unless_it_is_open(self, world, route):
        status, _ = await world.ask(route, None)
        assert status == (200 if NEEDED[route] is None else 401)

    async def test_with_an_expired_one_it_is_refused_unless_it_is_open(self, world, route):
        status, _ = await world.ask(route, "expired")
        assert status == (200 if NEEDED[route] is None else 401)

    async def test_without_its_scope_it_is_refused(self, world, route):
        if (needed := NEEDED[route]) is not None:
            assert (await world.ask(route, f"without {needed}"))[0] == 403

    @pytest.mark.parametrize("kind", ["other", "owner", "admin"])
    async def test_each_is_told_of_the_images_that_are_its_own(self, world, route, kind):
        place, told = ["other", "owner", "admin"].index(kind), TOLD[route]
        status, seen = await world.ask(route, kind)
        assert status == told.statuses[place]
        if told.seen is not None:
            assert seen == told.seen[place]


@MODULE
async def test_who_owns_nothing_sees_nothing(world):
    listed = await world.client.get("/images", headers=bearer(world.keys["without images:write"]))
    assert json.loads(listed.content) == {"images": [], "next_cursor": None}
