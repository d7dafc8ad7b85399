"""Who may read an image: by the rule of the server, by the choice of its upload, by its owner."""

import re
import uuid

import pytest
from structlog.testing import capture_logs

from app.access.scopes import Scope
from app.catalog.images import Known
from app.imaging.info import Visibility
from app.log import EVENTS
from tests.support import images
from tests.support.credentials import bearer, make_key, owner_of
from tests.support.facts import NEWER, until
from tests.support.in_process import in_process, problem
from tests.support.streamed import beginning

SCOPES = [scope.value for scope in Scope if scope is not Scope.ADMIN]
JPEG = images.jpeg(images.photo((40, 30)))
PUBLIC = "public, max-age=31536000, immutable"
PRIVATE = "private, no-cache"
UNKNOWN = "a" * 32
READERS = ("none", "writer", "other", "owner", "admin")
# The statuses for these readers, in their order.
READ = {
    "public": (200, 200, 200, 200, 200),
    "authenticated": (401, 403, 200, 200, 200),
    "owner": (401, 403, 404, 200, 200),
}


class Clients:
    """Keys of each kind, the same on every gateway that is started on the folder."""

    def __init__(self, folder):
        self.folder = folder
        keys = {
            "writer": make_key(folder, "images:write"),
            "other": make_key(folder, *SCOPES),
            "owner": make_key(folder, *SCOPES),
            "admin": make_key(folder, "admin"),
        }
        self.owner = owner_of(keys["owner"])
        self.headers = {kind: bearer(key) for kind, key in keys.items()} | {"none": {}}

    def gateway(self, **access):
        return in_process(self.folder, access=access)

    async def store(self, client, visibility=None):
        return await self.upload(client, "owner", visibility)

    async def upload(self, client, kind, visibility=None):
        query = {"visibility": visibility} if visibility else {}
        response = await client.post(
            "/images", content=JPEG, params=query, headers=self.headers[kind]
        )
        assert response.status_code == 201, response.text
        return response.json()

    async def statuses(self, client, url, method="GET", **headers):
        answers = [
            await client.request(method, url, headers=self.headers[each] | headers)
            for each in READERS
        ]
        return tuple(each.status_code for each in answers)


@pytest.fixture
def clients(tmp_path):
    return Clients(tmp_path)


class TestRule:
    @pytest.mark.parametrize("rule", READ)
    async def test_the_servers_rule_is_for_uploads_that_choose_nothing(self, clients, rule):
        async with clients.gateway(read=rule) as client:
            image = await clients.store(client)
            for method in ("GET", "HEAD"):
                assert await clients.statuses(client, image["url"], method) == READ[rule]
            assert image["owner"] == clients.owner

    @pytest.mark.parametrize("chosen", READ)
    @pytest.mark.parametrize("rule", READ)
    async def test_an_upload_may_choose_another(self, clients, rule, chosen):
        async with clients.gateway(read=rule) as client:
            image = await clients.store(client, chosen)
            assert image["visibility"] == chosen
            assert await clients.statuses(client, image["url"]) == READ[chosen]

    async def test_it_is_that_of_the_owner_where_clients_need_a_credential(self, clients):
        async with clients.gateway() as client:
            image = await clients.store(client)
            assert image["visibility"] == "owner"
            assert await clients.statuses(client, image["url"]) == READ["owner"]

    async def test_it_is_public_where_they_need_none(self, client):
        image = (await client.post("/images", content=JPEG)).json()
        assert "owner" not in image
        assert "visibility" not in image
        answer = await client.get(image["url"])
        assert answer.headers["cache-control"] == PUBLIC
        assert "vary" not in answer.headers

    async def test_without_authentication_everybody_may_read_everything(self, client):
        image = (await client.post("/images?visibility=owner", content=JPEG)).json()
        assert image["visibility"] == "owner"
        answer = await client.get(image["url"])
        assert (answer.status_code, answer.headers["cache-control"]) == (200, PRIVATE)
        assert (await client.get(image["url"] + "/metadata")).json() == image
        assert (await client.delete(image["url"])).status_code == 204

    async def test_images_from_before_authentication_are_the_administrators(self, tmp_path):
        async with in_process(tmp_path) as client:
            image = (await client.post("/images", content=JPEG)).json()
        clients = Clients(tmp_path)
        async with clients.gateway() as client:
            assert await clients.statuses(client, image["url"]) == (401, 403, 404, 404, 200)
            [listed] = (await client.get("/images", headers=clients.headers["admin"])).json()[
                "images"
            ]
            assert listed == image

    async def test_a_stricter_rule_closes_what_chose_nothing_and_a_wider_one_opens_nothing(
        self, clients
    ):
        async with clients.gateway(read="public") as client:
            plain, chosen = await clients.store(client), await clients.store(client, "public")
        async with clients.gateway(read="owner") as client:
            assert await clients.statuses(client, plain["url"]) == READ["owner"]
            assert await clients.statuses(client, chosen["url"]) == READ["public"]
            closed = await clients.store(client)
        async with clients.gateway(read="public") as client:
            assert await clients.statuses(client, plain["url"]) == READ["public"]
            assert await clients.statuses(client, closed["url"]) == READ["owner"]


class TestChoice:
    async def test_a_form_field_chooses_and_wins_over_the_query(self, clients):
        async with clients.gateway() as client:
            answer = await client.post(
                "/images?visibility=owner",
                files={"file": JPEG},
                data={"visibility": "public"},
                headers=clients.headers["owner"],
            )
            assert answer.json()["visibility"] == "public"

    @pytest.mark.parametrize(
        ("allowed", "rule", "names"),
        [
            ("owner,authenticated", None, "authenticated, owner"),
            ("", None, "owner"),
            ("", "authenticated", "authenticated"),
        ],
    )
    async def test_what_the_server_does_not_allow_is_refused(self, clients, allowed, rule, names):
        async with clients.gateway(visibilities=allowed, read=rule) as client:
            for chosen in ("public", "everyone"):
                answer = await client.post(
                    "/images",
                    content=JPEG,
                    params={"visibility": chosen},
                    headers=clients.headers["owner"],
                )
                detail = problem(answer, 422, "invalid-parameter")["detail"]
                assert f"visibility: {chosen!r} is not allowed here; allowed: {names}." == detail
            assert (await clients.store(client, names.split(", ")[0]))["owner"]


class TestAnswers:
    @pytest.mark.parametrize("visibility", list(Visibility))
    async def test_only_a_public_image_is_kept_by_caches_and_embedded(self, clients, visibility):
        async with in_process(clients.folder, http={"embedding": "cross-origin"}) as client:
            url = (await clients.store(client, visibility))["url"]
            whole = await client.get(url, headers=clients.headers["owner"])
            etag = {"if-none-match": whole.headers["etag"]}
            answers = [
                whole,
                await client.head(url, headers=clients.headers["owner"]),
                await client.get(url, headers=clients.headers["owner"] | etag),
                await client.get(url, headers=clients.headers["owner"] | {"range": "bytes=0-9"}),
            ]
        assert [each.status_code for each in answers] == [200, 200, 304, 206]
        is_public = visibility is Visibility.PUBLIC
        for each in answers:
            assert each.headers["cache-control"] == (PUBLIC if is_public else PRIVATE)
            vary = None if is_public else "Authorization, X-API-Key"
            assert each.headers.get("vary") == vary
            policy = "cross-origin" if is_public else "same-origin"
            assert each.headers["cross-origin-resource-policy"] == policy

    async def test_other_origins_are_added_to_what_the_answer_depends_on(self, clients):
        async with in_process(
            clients.folder, http={"cors_origins": "https://app.example"}
        ) as client:
            url = (await clients.store(client))["url"]
            answer = await client.get(url, headers=clients.headers["owner"])
        assert answer.headers["vary"] == "Authorization, X-API-Key, Origin"

    async def test_a_foreign_image_looks_like_an_unknown_one_whatever_is_asked(self, clients):
        async with clients.gateway(read="owner") as client:
            listed, deleted = await clients.store(client), await clients.store(client)
            await client.delete(deleted["url"], headers=clients.headers["owner"])
            etag = (await client.head(listed["url"], headers=clients.headers["owner"])).headers
            for more in ({}, {"range": "bytes=0-9"}, {"if-none-match": etag["etag"]}):
                for method, ending in (
                    ("GET", ""),
                    ("HEAD", ""),
                    ("GET", "/metadata"),
                    ("DELETE", ""),
                ):
                    for kind in READERS[:3]:
                        headers = clients.headers[kind] | more | {"x-request-id": "same"}
                        told = [
                            await client.request(method, f"{url}{ending}", headers=headers)
                            for url in (
                                f"/images/{UNKNOWN}",
                                "/images/malformed",
                                listed["url"],
                                deleted["url"],
                            )
                        ]
                        assert len({(each.status_code, each.content) for each in told}) == 1
                        for each in told:
                            # It is about the requests before.
                            del each.headers["ratelimit"]
                        assert len({frozenset(each.headers.items()) for each in told}) == 1
                        assert told[0].status_code in (401, 403, 404)

    async def test_the_head_tells_whose_an_image_is_that_the_catalog_does_not_have_yet(
        self, clients, monkeypatch
    ):
        async with clients.gateway() as client:
            url = (await clients.store(client))["url"]

            async def unknown(image_id):
                return Known(image_id, None)

            monkeypatch.setattr(client.gateway.catalog, "known", unknown)
            for method in ("GET", "DELETE"):
                kinds = ("other", "owner")
                told = [
                    (await client.request(method, url, headers=clients.headers[each])).status_code
                    for each in kinds
                ]
                assert told == [404, 200 if method == "GET" else 204]

    async def test_it_looks_so_too_while_an_event_of_a_newer_version_stops_the_gateway(
        self, clients
    ):
        async with clients.gateway() as client:
            made = {each: await clients.store(client, each) for each in ("owner", "public")}
            deleted = await clients.store(client)
            await client.delete(deleted["url"], headers=clients.headers["owner"])
            await client.gateway.log.append(EVENTS, [NEWER])
            await until(lambda: client.gateway.feed.is_stopped)
            assert await clients.statuses(client, made["public"]["url"]) == READ["public"]
            assert await clients.statuses(client, made["owner"]["url"]) == (503,) * 3 + (200,) * 2
            assert await clients.statuses(client, deleted["url"]) == (503,) * 3 + (410,) * 2
            assert await clients.statuses(client, f"/images/{UNKNOWN}") == (503,) * 5

    async def test_a_foreign_public_image_is_read_and_not_described_or_deleted(self, clients):
        async with clients.gateway() as client:
            image = await clients.store(client, "public")
            for method, ending in (("GET", "/metadata"), ("DELETE", "")):
                answer = await client.request(
                    method, image["url"] + ending, headers=clients.headers["other"]
                )
                problem(answer, 404, "image-not-found")
            assert await clients.statuses(client, image["url"]) == READ["public"]

    async def test_a_deleted_image_is_gone_for_those_who_could_read_it(self, clients):
        async with clients.gateway() as client:
            made = {each: await clients.store(client, each) for each in READ}
            for image in made.values():
                await client.delete(image["url"], headers=clients.headers["owner"])
            await self._check(clients, client, made)
        # The embedded log erased what announced them, so only the deletion tells whose they were.
        (clients.folder / "catalog.db").unlink()
        async with clients.gateway() as client:
            await self._check(clients, client, made)
            url = made["owner"]["url"]
            again = await client.delete(url, headers=clients.headers["owner"])
            assert again.status_code == 204
            again = await client.delete(url, headers=clients.headers["other"])
            problem(again, 404, "image-not-found")

    async def _check(self, clients, client, made):
        for visibility, image in made.items():
            expected = tuple(410 if each == 200 else each for each in READ[visibility])
            assert await clients.statuses(client, image["url"]) == expected


def _another(url):
    """Return the path of an image at the same address that nobody stored."""
    return url[:-1] + ("b" if url.endswith("a") else "a")


class TestStrangers:
    async def test_make_the_gateway_read_no_record_but_that_of_a_public_image(
        self, clients, monkeypatch
    ):
        async with clients.gateway() as client:
            closed, public = await clients.store(client), await clients.store(client, "public")
            cache, read = client.gateway.finder._cache, []
            real = cache.read

            async def counting(position, belongs):
                read.append(position)
                return await real(position, belongs)

            monkeypatch.setattr(cache, "read", counting)
            for url in (closed["url"], f"/images/{UNKNOWN}", _another(public["url"])):
                for kind in ("none", "writer"):
                    await client.get(url, headers=clients.headers[kind])
            assert not read
            assert (await client.get(public["url"])).status_code == 200
            assert len(read) == 1

    async def test_find_a_public_image_that_another_replica_has_just_acknowledged(
        self, clients, monkeypatch
    ):
        async with clients.gateway() as client:
            image = await clients.store(client, "public")
            catalog, asked = client.gateway.catalog, []
            real = catalog.known

            async def late(image_id):
                asked.append(image_id)
                return Known(image_id, None) if len(asked) == 1 else await real(image_id)

            monkeypatch.setattr(catalog, "known", late)
            assert (await client.get(image["url"])).status_code == 200
            assert len(asked) == 2


class TestLog:
    async def test_each_denial_says_who_and_what(self, clients):
        async with clients.gateway() as client:
            image = await clients.store(client)
            with capture_logs() as logs:
                await clients.statuses(client, image["url"])
                await client.get(f"/images/{UNKNOWN}", headers=clients.headers["other"])
        denied = [line for line in logs if line["event"] == "access_denied"]
        codes = ["credential-required", "insufficient-scope", "image-not-found"]
        assert [line["code"] for line in denied] == codes
        assert {line["path"] for line in denied} == {image["url"]}
        assert [bool(line["principal"]) for line in denied] == [False, True, True]


class TestList:
    async def test_pages_hold_ones_own_images_alone(self, clients):
        async with clients.gateway() as client:
            own = []
            for _ in range(3):
                own.append((await clients.store(client))["id"])
                await clients.upload(client, "other")
            seen, target = [], "/images?limit=2"
            while target:
                page = await client.get(target, headers=clients.headers["owner"])
                seen.append([each["id"] for each in page.json()["images"]])
                target = page.links.get("next", {}).get("url")
            assert seen == [own[:0:-1], own[:1]]
            everyones = await client.get("/images", headers=clients.headers["admin"])
            assert len(everyones.json()["images"]) == 6


class TestStream:
    @pytest.mark.parametrize("engine", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
    async def test_events_of_others_are_told_to_nobody_also_after_a_reconnection(
        self, request, clients, engine
    ):
        kafka = {}
        if engine == "kafka":
            servers = request.getfixturevalue("kafka").bootstrap_servers
            prefix = f"owners-{uuid.uuid4().hex[:8]}-"
            kafka = {"bootstrap_servers": servers, "topic_prefix": prefix, "partitions": 1}
        async with in_process(clients.folder, kafka=kafka) as client:
            foreign = await clients.store(client, "public")
            first = await clients.upload(client, "other")
            await client.delete(foreign["url"], headers=clients.headers["owner"])
            await client.delete(first["url"], headers=clients.headers["other"])
            last = await clients.upload(client, "other")
            told = [("image.stored", first), ("image.deleted", first), ("image.stored", last)]
            everything = await self.events(clients, client, "other", -1, last)
            assert everything == [(kind, image["id"]) for kind, image in told]
            resumed = await self.events(clients, client, "other", first["sequence"], last)
            assert resumed == everything[1:]
            all_events = await self.events(clients, client, "admin", -1, last)
            assert len(all_events) == 5

    async def events(self, clients, client, kind, after, last):
        """The type and the id of each event, up to that of the last image."""
        ended = f'"id":"{last["id"]}"'.encode()
        headers = clients.headers[kind] | {"last-event-id": str(after)}
        _, body = await beginning(client, "/streams/images", headers, lambda body: ended in body)
        found = re.findall(rb'event: (\S+)\ndata: .*?"id": ?"(\w+)"', body)
        return [(kind.decode(), image_id.decode()) for kind, image_id in found]
