"""`Idempotency-Key`: the same answer for the same upload, and a clear one for another."""

import asyncio
import uuid

import pytest

from app.events.idempotency import token_of
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process, problem
from tests.support.links import make
from tests.support.sealing import K1, sealing

shared = pytest.mark.asyncio(loop_scope="module")

PHOTO = images.jpeg(images.photo((80, 60)))
OTHER = images.jpeg(images.photo((80, 60), seed=2))
NEVER_EQUAL = {"x-request-id", "idempotency-replayed", "date"}


def new_key():
    return str(uuid.uuid4())


async def upload(client, key, data=PHOTO, name="a.jpg", **options):
    headers = options.pop("headers", {}) | {"Idempotency-Key": key}
    files = {"file": (name, data)}
    return await client.post("/images", files=files, data=options, headers=headers)


async def stored(client):
    return len((await client.get("/images", params={"limit": 1000})).json()["images"])


@shared
class TestReplays:
    async def test_the_same_upload_is_answered_alike_and_stored_once(self, shared_client):
        before, key = await stored(shared_client), new_key()
        # Each form has a boundary of its own.
        first, *others = [await upload(shared_client, key) for _ in range(3)]
        assert first.status_code == 201
        assert "idempotency-replayed" not in first.headers
        for each in others:
            assert each.status_code == 201
            assert each.headers["idempotency-replayed"] == "true"
            assert each.content == first.content
            assert _headers(each) == _headers(first)
        assert await stored(shared_client) == before + 1

    async def test_uploads_at_once_are_answered_alike(self, shared_client):
        before, key = await stored(shared_client), new_key()
        answers = await asyncio.gather(*(upload(shared_client, key) for _ in range(50)))
        assert {(each.status_code, each.content) for each in answers} == {(201, answers[0].content)}
        assert sum("idempotency-replayed" in each.headers for each in answers) == 49
        assert await stored(shared_client) == before + 1

    async def test_a_key_is_the_same_in_quotes_and_without(self, shared_client):
        key = 'a"\\b'
        first = await upload(shared_client, r'"a\"\\b"')
        again = await upload(shared_client, r' "a\"\\b" ')
        assert again.json() == first.json()
        plain = new_key()
        first, again = [await upload(shared_client, each) for each in (plain, f'"{plain}"')]
        assert again.json() == first.json()
        problem(await upload(shared_client, key), 400, "invalid-idempotency-key")

    async def test_bytes_as_the_body_are_the_same_upload_as_bytes_in_chunks(self, shared_client):
        headers = {"Idempotency-Key": new_key()}

        async def pieces():
            yield PHOTO[:1000]
            yield PHOTO[1000:]

        first = await shared_client.post("/images", content=PHOTO, headers=headers)
        again = await shared_client.post("/images", content=pieces(), headers=headers)
        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"

    async def test_an_option_in_the_query_is_the_same_as_one_in_the_form(self, shared_client):
        key = new_key()
        first = await upload(shared_client, key, profile="original", metadata="strip")
        again = await shared_client.post(
            "/images?metadata=strip&profile=original&tracking=7",
            files={"file": ("a.jpg", PHOTO)},
            headers={"Idempotency-Key": key},
        )
        assert again.json() == first.json()

    async def test_an_image_that_is_gone_is_a_410_and_another_key_stores_it(self, shared_client):
        key = new_key()
        image = (await upload(shared_client, key)).json()
        assert (await shared_client.delete(image["url"])).status_code == 204
        answer = await upload(shared_client, key)
        problem(answer, 410, "image-gone")
        assert "idempotency-replayed" not in answer.headers
        assert (await upload(shared_client, new_key())).status_code == 201


def _headers(answer):
    return {name: text for name, text in answer.headers.items() if name not in NEVER_EQUAL}


@shared
class TestRefusals:
    @pytest.mark.parametrize(
        "changes",
        [
            {"data": OTHER},
            {"name": "b.jpg"},
            {"profile": "original"},
            {"visibility": "public"},
            {"expires_in": "60"},
        ],
        ids="".join,
    )
    async def test_another_upload_under_the_key_is_a_422(self, shared_client, changes):
        before, key = await stored(shared_client), new_key()
        assert (await upload(shared_client, key)).status_code == 201
        problem(await upload(shared_client, key, **changes), 422, "idempotency-key-reused")
        assert (await upload(shared_client, key)).headers["idempotency-replayed"] == "true"
        assert await stored(shared_client) == before + 1

    @pytest.mark.parametrize(
        "key",
        [
            *("", " ", '""', "a b", "a\tb", '"a', 'a"', '"a";x=1', '"a\\c"', "a,b", "a;b", "é"),
            *("k" * 256, '"' + "k" * 256 + '"'),
        ],
    )
    async def test_a_malformed_key_is_a_400(self, shared_client, key):
        answer = await shared_client.post(
            "/images", content=PHOTO, headers=[(b"Idempotency-Key", key.encode())]
        )
        problem(answer, 400, "invalid-idempotency-key")

    async def test_two_keys_are_a_400(self, shared_client):
        headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
        answer = await shared_client.post("/images", content=PHOTO, headers=headers)
        problem(answer, 400, "invalid-idempotency-key")

    @pytest.mark.parametrize(
        "key", ["k" * 255, '"' + "k" * 255 + '"', "!#$%&'()*+-./:<=>?@[]^_`{|}~"]
    )
    async def test_any_other_key_is_accepted(self, shared_client, key):
        assert (await upload(shared_client, key)).status_code == 201

    async def test_a_refusal_leaves_the_key_to_the_next_upload(self, shared_client):
        key = new_key()
        problem(await upload(shared_client, key, PHOTO[:300]), 422, "invalid-image")
        problem(await upload(shared_client, key, profile="tiny"), 422, "invalid-parameter")
        answer = await upload(shared_client, key)
        assert answer.status_code == 201
        assert "idempotency-replayed" not in answer.headers


@shared
class TestBatches:
    async def send(self, client, key, *files, **options):
        """Send a batch; return the answer and its results."""
        parts = [("file", (name, data)) for name, data in files]
        headers = {"Idempotency-Key": key}
        answer = await client.post("/images/batch", files=parts, params=options, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer, answer.json()["results"]

    async def test_a_batch_that_is_sent_again_is_stored_once(self, shared_client):
        before, key = await stored(shared_client), new_key()
        files = [("a.jpg", PHOTO), ("b.jpg", PHOTO[:300]), ("a.jpg", PHOTO), ("c.jpg", OTHER)]
        first, results = await self.send(shared_client, key, *files[:3])
        assert [each["status"] for each in results] == [201, 422, 201]
        # Equal files are two images, each at its position.
        assert results[0]["image"]["id"] != results[2]["image"]["id"]
        assert "idempotency-replayed" not in first.headers
        files[1] = ("b.jpg", PHOTO)
        again, now = await self.send(shared_client, key, *files)
        assert [now[0], now[2]] == [results[0], results[2]]
        assert [each["status"] for each in now] == [201] * 4
        assert again.headers["idempotency-replayed"] == "true"
        assert await stored(shared_client) == before + 4

    async def test_another_file_at_a_position_is_refused_alone(self, shared_client):
        key = new_key()
        await self.send(shared_client, key, ("a.jpg", PHOTO), ("b.jpg", PHOTO))
        _, results = await self.send(shared_client, key, ("a.jpg", PHOTO), ("b.jpg", OTHER))
        assert [each["status"] for each in results] == [201, 422]
        assert results[1]["problem"]["code"] == "idempotency-key-reused"
        _, results = await self.send(shared_client, key, ("a.jpg", PHOTO), profile="original")
        assert [each["status"] for each in results] == [422]

    async def test_an_image_alone_is_none_of_a_batch(self, shared_client):
        key = new_key()
        image = (await upload(shared_client, key)).json()
        _, [result] = await self.send(shared_client, key, ("a.jpg", PHOTO))
        assert result["image"]["id"] != image["id"]

    async def test_an_option_of_one_image_is_none_of_the_next(self, shared_client):
        boundary, content_type = "b", "multipart/form-data; boundary=b"
        headers = {"Idempotency-Key": new_key(), "Content-Type": content_type}

        def part(name, content, more=""):
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
            return head.encode() + content + b"\r\n"

        photo = part("file", PHOTO, '; filename="a.jpg"')
        profile = part("profile", b"original")
        end = f"--{boundary}--\r\n".encode()
        statuses = []
        for body in (photo + profile + photo + photo + end, 3 * photo + end):
            answer = await shared_client.post("/images/batch", content=body, headers=headers)
            statuses.append([each["status"] for each in answer.json()["results"]])
        assert statuses == [[201, 201, 201], [201, 422, 201]]

    async def test_a_batch_at_once_with_itself_is_stored_once(self, shared_client):
        before, key = await stored(shared_client), new_key()
        files = [(f"{number}.jpg", PHOTO) for number in range(10)]
        answers = await asyncio.gather(*(self.send(shared_client, key, *files) for _ in range(4)))
        assert all(results == answers[0][1] for _, results in answers)
        assert await stored(shared_client) == before + 10

    async def test_one_that_waits_for_another_too_long_is_a_409_of_the_whole(
        self, shared_client, monkeypatch
    ):
        once, headers = shared_client.gateway.ingest._once, {"Idempotency-Key": new_key()}
        monkeypatch.setattr(once, "_wait_seconds", 0.01)
        files = [("file", ("a.jpg", PHOTO))]
        async with once.turn(token_of("", "", headers["Idempotency-Key"], 0)):
            answer = await shared_client.post("/images/batch", files=files, headers=headers)
        assert "results" not in problem(answer, 409, "idempotency-key-in-use")

    async def test_a_malformed_key_is_a_400_of_the_whole(self, shared_client):
        answer = await shared_client.post(
            "/images/batch", files={"file": PHOTO}, headers={"Idempotency-Key": "a b"}
        )
        problem(answer, 400, "invalid-idempotency-key")


async def test_a_key_belongs_to_the_one_who_sent_it_and_to_one_link(tmp_path):
    keys = [make_key(tmp_path, "images:write", "images:list") for _ in range(2)]
    async with in_process(tmp_path, access={"keys_file": tmp_path / "keys.json"}) as client:
        key, ids = new_key(), []
        for each in keys:
            answers = [await upload(client, key, headers=bearer(each)) for _ in range(2)]
            assert len({each.json()["id"] for each in answers}) == 1
            ids.append(answers[0].json()["id"])
        for _ in range(2):
            url = (await make(client, keys[0], kind="upload"))["url"]
            # The link has one use; the same upload again is the same use.
            answers = [
                await client.post(url, content=PHOTO, headers={"Idempotency-Key": key})
                for _ in range(2)
            ]
            assert [each.status_code for each in answers] == [201, 201]
            assert answers[0].json() == answers[1].json()
            ids.append(answers[0].json()["id"])
            problem(await client.post(url, content=PHOTO), 409, "link-used")
        assert len(set(ids)) == 4


async def test_a_full_quota_refuses_no_upload_that_is_stored(tmp_path):
    key = make_key(tmp_path, "images:write", "images:list")
    access = {"keys_file": tmp_path / "keys.json"}
    async with in_process(tmp_path, access=access, limits={"principal_images": 1}) as client:
        first = await upload(client, "a", headers=bearer(key))
        assert first.status_code == 201
        problem(await upload(client, "b", headers=bearer(key)), 403, "quota-exceeded")
        assert (await upload(client, "a", headers=bearer(key))).json() == first.json()


async def test_a_restart_forgets_nothing_not_even_with_an_empty_catalog(tmp_path):
    key, gone = new_key(), new_key()
    async with in_process(tmp_path) as client:
        first = await upload(client, key)
        deleted = (await upload(client, gone)).json()
        assert (await client.delete(deleted["url"])).status_code == 204
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    async with in_process(tmp_path) as client:
        again = await upload(client, key)
        assert again.content == first.content
        assert again.headers["idempotency-replayed"] == "true"
        # The embedded log has erased its event.
        problem(await upload(client, gone), 410, "image-gone")


async def test_an_image_that_is_deleted_leaves_its_place_to_none_that_lost_to_it(
    tmp_path, monkeypatch
):
    key = new_key()
    async with in_process(tmp_path) as client:
        with monkeypatch.context() as patch:
            # As if the first had come into the log while the second was developed.
            patch.setattr(client.gateway.ingest._once, "holder", unknown)
            won, lost = [await upload(client, key) for _ in range(2)]
        assert won.content == lost.content
        assert (await client.delete(won.json()["url"])).status_code == 204
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    async with in_process(tmp_path) as client:
        assert await stored(client) == 0
        problem(await upload(client, key), 410, "image-gone")


async def unknown(_token):
    """As `Once.holder` where the key is new."""


async def test_an_encrypted_image_is_replayed_and_its_event_does_not_tell_the_upload(tmp_path):
    key = new_key()
    async with in_process(tmp_path / "clear") as client:
        assert (await upload(client, key)).status_code == 201
        clear = await client.gateway.catalog._database.query(tuple, "SELECT * FROM tokens")
    async with in_process(tmp_path / "sealed", **sealing(k1=K1)) as client:
        first = await upload(client, key)
        again = await upload(client, key)
        assert (again.content, again.status_code) == (first.content, 201)
        assert again.headers["idempotency-replayed"] == "true"
        problem(await upload(client, key, OTHER), 422, "idempotency-key-reused")
        sealed = await client.gateway.catalog._database.query(tuple, "SELECT * FROM tokens")
    assert (clear[0][0], clear[0][-1] == sealed[0][-1]) == (sealed[0][0], False)
