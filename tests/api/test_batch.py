"""`POST /images/batch`: many images in one form, each stored or refused by itself."""

import asyncio
import hashlib
import itertools

from app.api import digests
from app.api.batch_body import BatchBody
from app.errors import NotReadyError, OverloadedError
from app.ingest.intake import Intake
from app.log import EVENTS, IMAGES, Position
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.forms import END, HEADERS, field, file, form
from tests.support.in_process import problem
from tests.support.links import make

JPEG = images.jpeg()
BROKEN = JPEG[: len(JPEG) // 2]


async def post(client, body, query="", **options):
    headers = HEADERS | options.pop("headers", {})
    return await client.post(f"/images/batch{query}", content=body, headers=headers, **options)


async def results(client, body, query=""):
    response = await post(client, body, query)
    assert response.status_code == 200, response.text
    return response.json()["results"]


async def pieces(body, *cuts):
    """Yield a body in pieces that end there."""
    for start, end in itertools.pairwise((0, *cuts, len(body))):
        yield body[start:end]


def of_content(data):
    return digests.field_of("sha-256", hashlib.sha256(data).digest())


def statuses(results):
    return [each["status"] for each in results]


def codes(results):
    return [each["problem"]["code"] if "problem" in each else 201 for each in results]


async def listed(client, **headers):
    return (await client.get("/images?limit=1000", headers=headers)).json()["images"]


class TestResults:
    async def test_each_image_is_stored_and_described_as_alone(self, client):
        files = [("file", (f"{number}.jpg", JPEG)) for number in range(3)]
        response = await client.post("/images/batch", files=files)
        assert response.status_code == 200, response.text
        stored = [each["image"] for each in response.json()["results"]]
        assert [each["filename"] for each in stored] == ["0.jpg", "1.jpg", "2.jpg"]
        for each in stored:
            assert (await client.get(f"{each['url']}/metadata")).json() == each

    async def test_the_order_of_the_parts_is_that_of_results_and_events(self, client):
        # The first one takes longest.
        large = images.png(images.photo((900, 900), noise=255))
        parts = [file(large, "0"), *(file(JPEG, str(number)) for number in range(1, 9))]
        stored = [each["image"] for each in await results(client, form(*parts))]
        assert [each["filename"] for each in stored] == [str(number) for number in range(9)]
        sequences = [each["sequence"] for each in stored]
        assert sequences == sorted(sequences)

    async def test_one_that_is_refused_leaves_the_others_as_they_are(self, client):
        body = form(file(JPEG), file(BROKEN), file(b"%PDF-1.7"), file(b""), file(JPEG))
        found = await results(client, body)
        assert codes(found) == [201, "invalid-image", "unsupported-format", "empty-body", 201]
        refused = found[1]["problem"]
        assert (refused["status"], refused["retryable"]) == (422, False)
        assert len(await listed(client)) == 2

    async def test_one_that_is_too_large_is_passed_over(self, gateways):
        client = await gateways(upload={"max_bytes": 50_000})
        large = images.png(images.photo((200, 200), noise=255))
        assert len(large) > 50_000
        found = await results(client, form(file(JPEG), file(large), file(JPEG)))
        assert codes(found) == [201, "body-too-large", 201]

    async def test_a_mistake_of_our_own_with_one_leaves_the_others(self, client, monkeypatch):
        develop, count = client.gateway.ingest._development.develop, 0

        async def mistaken(*arguments):
            nonlocal count
            count += 1
            if count == 2:
                raise ZeroDivisionError("a mistake")
            return await develop(*arguments)

        monkeypatch.setattr(client.gateway.ingest._development, "develop", mistaken)
        found = await results(client, form(file(JPEG), file(JPEG), file(JPEG)))
        assert sorted(map(str, codes(found))) == ["201", "201", "internal-error"]
        assert "mistake" not in str(found[0])


class TestOptions:
    async def test_before_the_first_file_they_are_for_all_later_ones_for_the_next(self, client):
        body = form(
            field("profile", "lossless"),
            file(JPEG),
            field("profile", "small"),
            field("metadata", "keep"),
            file(JPEG),
            file(JPEG),
            field("profile", "original"),
        )
        found = await results(client, body)
        profiles = [each["image"]["profile"] for each in found]
        assert profiles == ["lossless", "small", "lossless"]

    async def test_those_of_the_query_are_for_all(self, client):
        found = await results(client, form(file(JPEG), file(JPEG)), "?profile=original")
        assert [each["image"]["profile"] for each in found] == ["original"] * 2

    async def test_an_unknown_value_for_all_refuses_all(self, client):
        body = form(field("profile", "tiny"), file(JPEG))
        assert problem(await post(client, body), 422, "invalid-parameter")["results"] == []
        problem(await post(client, form(file(JPEG)), "?profile=tiny"), 422, "invalid-parameter")
        assert await listed(client) == []

    async def test_an_unknown_value_for_one_refuses_that_one(self, client):
        body = form(file(JPEG), field("profile", "tiny"), file(JPEG), file(JPEG))
        assert codes(await results(client, body)) == [201, "invalid-parameter", 201]

    async def test_other_fields_are_left_alone(self, client):
        body = form(field("comment", "x" * 5_000), file(JPEG), field("comment", "y"))
        assert codes(await results(client, body)) == [201]

    async def test_those_in_front_of_one_without_memory_are_for_all(self, client, monkeypatch):
        count, refused = Intake.count, []

        async def counted(intake, piece_bytes):
            await count(intake, piece_bytes)
            if not refused:
                refused.append(intake)
                raise OverloadedError("The memory is full.")

        monkeypatch.setattr(Intake, "count", counted)
        options = (
            field("profile", "original") + field("visibility", "owner") + field("source", "door")
        )
        parts = options + file(JPEG), file(JPEG)
        for cuts in ((), (150,), (250, 280)):
            refused.clear()
            found = await results(client, pieces(form(*parts), *cuts))
            assert codes(found) == ["overloaded", 201]
            assert found[0]["problem"]["retry_after"] == 5
            image = found[1]["image"]
            chosen = image["profile"], image["visibility"], image["source"]
            assert chosen == ("original", "owner", "door")
        refused.clear()
        wrong = pieces(form(field("visibility", "all"), file(JPEG), file(JPEG)))
        assert "owner" in problem(await post(client, wrong), 422, "invalid-parameter")["detail"]


class TestDigests:
    async def test_one_that_differs_refuses_its_image_alone(self, client):
        right, wrong = of_content(JPEG), of_content(BROKEN)
        for digest, code in ((wrong, "digest-mismatch"), ("sha-256=1", "invalid-digest")):
            body = form(file(JPEG), file(JPEG, digest=digest), file(JPEG, digest=right), file(JPEG))
            assert codes(await results(client, body)) == [201, code, 201, 201]

    async def test_that_of_an_option_is_compared_too(self, client):
        right, wrong = of_content(b"door"), of_content(b"gate")
        for digest, code in ((wrong, "digest-mismatch"), ("sha-256=1", "invalid-digest")):
            body = form(file(JPEG), field("source", "door", digest), file(JPEG), file(JPEG))
            assert codes(await results(client, body)) == [201, code, 201]
            body = form(field("source", "door", digest), file(JPEG), file(JPEG))
            assert problem(await post(client, body), 400, code)["results"] == []
        found = await results(client, form(field("source", "door", right), *[file(JPEG)] * 2))
        assert [each["image"]["source"] for each in found] == ["door"] * 2

    async def test_that_of_the_form_breaks_off_with_what_is_stored_and_a_key_repeats_it(
        self, client
    ):
        body = form(file(JPEG), file(BROKEN), file(JPEG))
        headers = {"Content-Digest": of_content(body[1:]), "Idempotency-Key": "k"}
        answer = await post(client, body, headers=headers)
        found = problem(answer, 400, "digest-mismatch")["results"]
        assert codes(found) == [201, "invalid-image", 201]
        headers["Content-Digest"] = of_content(body)
        again = await post(client, body, headers=headers)
        assert [each.get("image") for each in again.json()["results"]] == [
            each.get("image") for each in found
        ]
        assert len(await listed(client)) == 2


class TestForms:
    async def test_one_that_is_cut_off_says_what_is_stored(self, client):
        body = file(JPEG) + file(BROKEN) + file(JPEG)[:-100]
        found = problem(await post(client, body), 400, "bad-request")["results"]
        assert codes(found) == [201, "invalid-image", "bad-request"]
        assert [each["id"] for each in await listed(client)] == [found[0]["image"]["id"]]

    async def test_one_without_its_end_says_what_is_stored(self, client):
        for end, expected in ((b"", "bad-request"), (b"--batch-boundary\r\n", 201)):
            found = problem(await post(client, file(JPEG) + end), 400, "bad-request")["results"]
            assert codes(found) == [expected]

    async def test_one_that_is_malformed_later_says_what_is_stored(self, client):
        body = form(file(JPEG), b"--batch-boundary\r\n no header\r\n\r\n", file(JPEG))
        found = problem(await post(client, body), 400, "bad-request")["results"]
        assert codes(found) == [201]

    async def test_one_without_a_file(self, client):
        body = form(field("profile", "small"), field("picture", "x"))
        problem(await post(client, body), 422, "missing-file")
        problem(await post(client, END), 422, "missing-file")

    async def test_an_image_in_a_part_of_another_name_is_told_so(self, client):
        body = form(file(JPEG), field("image", "x" * 100_000), file(JPEG))
        found = problem(await post(client, body), 422, "missing-file")
        assert "'image'" in found["detail"]
        assert codes(found["results"]) == [201]

    async def test_one_of_too_many_images_stores_as_many_as_allowed(self, gateways):
        client = await gateways(upload={"batch_images": 2})
        found = problem(await post(client, form(*[file(JPEG)] * 3)), 422, "too-many-files")
        assert codes(found["results"]) == [201, 201]
        assert codes(await results(client, form(*[file(JPEG)] * 2))) == [201, 201]

    async def test_one_over_the_limit_of_a_batch_announced_or_not(self, gateways):
        client = await gateways(upload={"batch_bytes": 3 * len(JPEG)})
        body = form(*[file(JPEG)] * 4)

        async def pieces():
            for start in range(0, len(body), 1_000):
                yield body[start : start + 1_000]

        assert "results" not in problem(await post(client, body), 413, "body-too-large")
        assert await listed(client) == []
        found = problem(await post(client, pieces()), 413, "body-too-large")["results"]
        assert codes(found)[:2] == [201, 201]
        assert codes(found)[-1] == "body-too-large"

    async def test_one_in_small_pieces_with_a_preamble_and_an_epilogue(self, client):
        body = b"a preamble\r\n" + form(file(JPEG), field("profile", "small"), file(JPEG))

        async def pieces():
            for start in range(0, len(body), 7):
                yield body[start : start + 7]
            yield b"an epilogue"

        assert codes(await results(client, pieces())) == [201, 201]

    async def test_a_body_of_another_type(self, client):
        response = await client.post("/images/batch", content=JPEG)
        problem(response, 415, "unsupported-media-type")
        assert response.headers["accept"] == "multipart/form-data"
        headers = {"content-type": "multipart/form-data"}
        response = await client.post("/images/batch", content=form(file(JPEG)), headers=headers)
        problem(response, 400, "bad-request")


class TestTogether:
    async def test_images_that_are_ready_together_share_appends(self, client, monkeypatch):
        log, appended = client.gateway.log, []
        may, waits = asyncio.Event(), asyncio.Event()
        append = log.append

        async def slow(topic, records, deadline=None):
            appended.append((topic, len(records)))
            if topic == IMAGES:
                waits.set()
                await may.wait()
            return await append(topic, records, deadline)

        monkeypatch.setattr(client.gateway.batches, "_append", slow)
        posting = asyncio.create_task(results(client, form(*[file(JPEG)] * 5)))
        await asyncio.wait_for(waits.wait(), 10)
        monkeypatch.undo()
        develop = client.gateway.ingest._development._pool
        while develop._shares.waiting() or len(develop._idle) < 1:
            await asyncio.sleep(0.01)
        may.set()
        assert statuses(await posting) == [201] * 5
        assert sum(count for topic, count in appended if topic == IMAGES) == 5
        assert sum(count for topic, count in appended if topic == EVENTS) == 5
        assert max(count for topic, count in appended if topic == IMAGES) > 1
        assert max(count for topic, count in appended if topic == EVENTS) > 1


class TestClients:
    async def test_one_link_stores_as_many_as_it_has_uses(self, client):
        url = (await make(client, kind="upload", uses=2))["url"]
        response = await client.post(
            url.replace("/images?", "/images/batch?"),
            content=form(*[file(JPEG)] * 4),
            headers=HEADERS,
        )
        assert response.status_code == 200, response.text
        found = response.json()["results"]
        assert codes(found) == [201, 201, "link-used", "link-used"]
        assert len(await listed(client)) == 2
        again = await client.post(
            url.replace("/images?", "/images/batch?"), content=form(file(JPEG)), headers=HEADERS
        )
        assert "results" not in problem(again, 409, "link-used")

    async def test_a_quota_counts_each_image(self, tmp_path, gateways):
        make_key(tmp_path / "data", "ops:read")
        key = make_key(tmp_path / "data", "images:write", "images:list")
        client = await gateways(limits={"principal_images": 2})
        body = form(*[file(JPEG)] * 4)
        found = (await post(client, body, headers=bearer(key))).json()["results"]
        assert sorted(map(str, codes(found))) == ["201", "201", "quota-exceeded", "quota-exceeded"]
        again = await post(client, body, headers=bearer(key))
        assert "results" not in problem(again, 403, "quota-exceeded")

    async def test_a_quota_of_bytes_counts_those_of_each_image(self, tmp_path, gateways):
        make_key(tmp_path / "data", "ops:read")
        key = make_key(tmp_path / "data", "images:write")
        body = form(*[file(JPEG)] * 12)
        client = await gateways(limits={"principal_bytes_stored": len(body) + 100})
        found = (await post(client, body, headers=bearer(key))).json()["results"]
        assert codes(found) == [201] * 12
        again = await post(client, body, headers=bearer(key))
        assert "results" not in problem(again, 403, "quota-exceeded")
        assert not client.gateway.ingest._quota._rooms

    async def test_a_quota_counts_none_twice_that_is_listed_and_not_yet_answered(
        self, tmp_path, gateways, monkeypatch
    ):
        make_key(tmp_path / "data", "ops:read")
        key = make_key(tmp_path / "data", "images:write")
        client = await gateways(limits={"principal_images": 2})
        ingest, usage = client.gateway.ingest, client.gateway.catalog.usage
        listed, may, calls = ingest._listed, asyncio.Event(), []

        async def late(published):
            found = await listed(published)
            await may.wait()
            return found

        async def counted(owner):
            # The second image comes when the first is listed, and its answer waits.
            calls.append(owner)
            if len(calls) > 1:
                await client.gateway.feed.applied_within(0, 5)
            found = await usage(owner)
            if found.images:
                asyncio.get_running_loop().call_later(0.05, may.set)
            return found

        monkeypatch.setattr(ingest, "_listed", late)
        monkeypatch.setattr(client.gateway.catalog, "usage", counted)
        answer = await post(client, form(file(JPEG), file(JPEG)), headers=bearer(key))
        assert codes(answer.json()["results"]) == [201, 201]

    async def test_a_rate_of_requests_counts_each_image(self, tmp_path, gateways):
        client = await gateways(limits={"address_requests": 1, "window_seconds": 20})
        left = (await post(client, form(*[file(JPEG)] * 10))).headers["ratelimit"]
        assert int(left.partition("r=")[2].partition(";")[0]) < 20 - 10 + 6

    async def test_uploads_at_once_are_as_many_as_a_client_may_have(self, gateways, monkeypatch):
        client = await gateways(limits={"address_uploads": 2}, imaging={"workers": 2})
        ingest = client.gateway.ingest
        store, running, most = ingest.store, 0, 0

        async def counted(*arguments):
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            try:
                return await store(*arguments)
            finally:
                running -= 1

        monkeypatch.setattr(ingest, "store", counted)
        assert statuses(await results(client, form(*[file(JPEG)] * 8))) == [201] * 8
        assert most == 2

    async def test_without_the_scope_nothing_of_it_is_parsed(self, tmp_path, gateways, monkeypatch):
        key = make_key(tmp_path / "data", "images:read")
        client = await gateways()
        monkeypatch.delattr(BatchBody, "receive")
        problem(await post(client, form(file(JPEG))), 401, "credential-required")
        response = await post(client, form(file(JPEG)), headers=bearer(key))
        problem(response, 403, "insufficient-scope")

    async def test_a_gateway_that_is_not_ready_reads_nothing(self, client, monkeypatch):
        def refuse():
            raise NotReadyError("The catalog follows.")

        monkeypatch.setattr(client.gateway.feed, "require_caught_up", refuse)
        monkeypatch.delattr(BatchBody, "receive")
        assert "results" not in problem(await post(client, form(file(JPEG))), 503, "not-ready")


async def test_the_records_of_a_batch_can_be_read_at_their_addresses(client):
    found = await results(client, form(*[file(JPEG)] * 6))
    for each in found:
        assert (await client.get(each["image"]["url"])).status_code == 200
    end = (await client.gateway.log.bounds(EVENTS, 0)).end
    assert (await client.gateway.log.read(EVENTS, Position(0, end - 1))).record is not None
