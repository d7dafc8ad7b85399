"""`imagegate import` from one embedded log into another, as clients of both see it."""

import shutil
import sqlite3
import time

import pytest

from app.access.settings import LINK_KEYS_NAME
from app.data_folder import FolderLock
from app.events.event import ImageDeleted, encode
from app.log import EVENTS, IMAGES
from app.records import address
from tests.support import images
from tests.support.facts import NEWER, image_id
from tests.support.in_process import in_process, problem
from tests.support.links import make
from tests.support.transfers import Logs, listed, opened, photo, upload

# Over the limit of a record.
LARGE = images.jpeg(images.photo((1600, 1200), noise=255), quality=98)


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


def in_log(image):
    """The JSON of an image without what belongs to its log."""
    own = {"id", "url", "sequence", "former_ids"}
    return {name: value for name, value in image.items() if name not in own}


async def test_everything_comes_along_in_its_order_and_old_ids_go_on_working(logs):
    one, other = logs.headers["one"], logs.headers["other"]
    async with logs.gateway(logs.source) as client:
        await upload(client, photo(1), one, source="door")
        gone = await upload(client, photo(2), one, source="door")
        await upload(client, photo(3), other, visibility="owner")
        await upload(client, LARGE, one, profile="original")
        await upload(client, photo(4), one, profile="archive", visibility="public")
        await client.delete(gone["url"], headers=one)
        before = {who: await listed(client, headers) for who, headers in logs.headers.items()}
        answers = {
            image["url"]: await client.get(image["url"], headers=logs.headers[who])
            for who, seen in before.items()
            for image in seen
        }
        assert {len(seen) for seen in before.values()} == {3, 1}
        largest = max(each["receipt"]["stored_bytes"] for each in before["one"])
        assert largest > client.gateway.log.max_record_bytes(IMAGES)
    said = logs.move()
    assert said.startswith("4 images, ")
    assert said.endswith(" MB moved; 1 deleted or expired ones stay gone.\n")

    async with logs.gateway(logs.target) as client:
        after = {who: await listed(client, headers) for who, headers in logs.headers.items()}
        for who, headers in logs.headers.items():
            assert [in_log(each) for each in after[who]] == [in_log(each) for each in before[who]]
            assert [each["former_ids"] for each in after[who]] == [[i["id"]] for i in before[who]]
            assert not {each["id"] for each in after[who]} & {each["id"] for each in before[who]}
            for then, now in zip(before[who], after[who], strict=True):
                for url in (then["url"], now["url"]):
                    answer = await client.get(url, headers=headers)
                    assert answer.status_code == 200, answer.text
                    assert answer.content == answers[then["url"]].content
                    told = await client.get(f"{url}/metadata", headers=headers)
                    assert told.json() == now
                    part = await client.get(url, headers=headers | {"range": "bytes=10-19"})
                    assert part.content == answer.content[10:20]
                kept = ("etag", "repr-digest", "content-type", "cache-control", "content-length")
                answer = await client.head(then["url"], headers=headers)
                expected = answers[then["url"]].headers
                assert [answer.headers[name] for name in kept] == [expected[name] for name in kept]
        problem(await client.get(gone["url"], headers=one), 410, "image-gone")
        closed, public = before["other"][0]["url"], before["one"][0]["url"]
        problem(await client.get(closed, headers=one), 404, "image-not-found")
        problem(await client.get(closed), 401, "credential-required")
        assert (await client.get(public)).status_code == 200
        problem(await client.delete(closed, headers=one), 404, "image-not-found")


async def test_deleted_by_an_old_id_it_is_gone_by_both_and_stays_so_without_the_catalog(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers)
        kept = await upload(client, photo(2), headers)
    logs.move()
    async with logs.gateway(logs.target) as client:
        new = (await client.get(f"{old['url']}/metadata", headers=headers)).json()
        stored = (await client.get(old["url"], headers=headers)).content
        for _ in range(2):
            assert (await client.delete(old["url"], headers=headers)).status_code == 204
        path = client.gateway.log.path
        for url in (old["url"], new["url"]):
            problem(await client.get(url, headers=headers), 410, "image-gone")
        assert [each["former_ids"] for each in await listed(client, headers)] == [[kept["id"]]]
    assert stored[-200:-50] not in path.read_bytes()
    (logs.target / "catalog.db").unlink()
    async with logs.gateway(logs.target) as client:
        for url in (old["url"], new["url"]):
            problem(await client.get(url, headers=headers), 410, "image-gone")
        assert (await client.get(kept["url"], headers=headers)).status_code == 200


async def test_it_goes_on_with_what_is_new_and_repeats_nothing(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        first = await upload(client, photo(1), headers)
    assert logs.move().startswith("1 images, ")
    assert logs.move() == "0 images, 0.0 MB moved; 1 were there already.\n"
    async with logs.gateway(logs.source) as client:
        second = await upload(client, photo(2), headers)
        assert (await client.delete(first["url"], headers=headers)).status_code == 204
    said = logs.move("--state-dir", logs.folder / "state")
    # The log has erased the event of the deleted one.
    assert said == "1 images, 0.0 MB moved; 1 deleted or expired ones stay gone.\n"
    said = logs.move("--state-dir", logs.folder / "state")
    assert said == "0 images, 0.0 MB moved; 1 were there already.\n"
    async with logs.gateway(logs.target) as client:
        problem(await client.get(first["url"], headers=headers), 410, "image-gone")
        assert [each["former_ids"] for each in await listed(client, headers)] == [[second["id"]]]
        assert client.gateway.feed.sequence == 2


async def test_an_image_that_has_expired_is_counted_as_gone_once_and_never_as_there(
    logs, monkeypatch
):
    real = time.time
    async with logs.gateway(logs.source) as client:
        await upload(client, photo(1), logs.headers["one"])
        # As if uploaded two hours ago.
        monkeypatch.setattr(time, "time", lambda: real() - 7_200)
        await upload(client, photo(2), logs.headers["one"], expires_in=3_600)
        monkeypatch.undo()
    assert logs.move().endswith(" MB moved; 1 deleted or expired ones stay gone.\n")
    assert logs.move() == "0 images, 0.0 MB moved; 1 were there already.\n"


async def test_the_ids_of_every_log_that_it_was_in_go_on_working(logs):
    headers = logs.headers["one"]
    third = logs.folder / "third"
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers)
        gone = await upload(client, photo(2), headers)
    logs.move()
    async with logs.gateway(logs.target) as client:
        between = (await client.get(f"{old['url']}/metadata", headers=headers)).json()
        await client.delete(gone["url"], headers=headers)
    logs.move(source=logs.target, target=third)
    async with logs.gateway(third) as client:
        [image] = await listed(client, headers)
        assert image["former_ids"] == [old["id"], between["id"]]
        assert in_log(image) == in_log(old)
        for url in (old["url"], between["url"], image["url"]):
            assert (await client.get(url, headers=headers)).status_code == 200
        problem(await client.get(gone["url"], headers=headers), 410, "image-gone")
    # Back where it came from it is known already, and what was deleted since is deleted there too.
    said = logs.move(source=third, target=logs.source)
    assert said == (
        "0 images, 0.0 MB moved; 1 were there already; 1 deleted or expired ones stay gone.\n"
    )
    async with logs.gateway(logs.source) as client:
        assert [each["id"] for each in await listed(client, headers)] == [old["id"]]
        problem(await client.get(gone["url"], headers=headers), 410, "image-gone")


async def test_links_go_on_working_and_none_gets_its_use_again(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
        key = headers["authorization"].removeprefix("Bearer ")
        read = await make(client, key, kind="download", image_id=old["id"])
        once = await make(client, key, kind="upload")
        by_link = await upload_by(client, once["url"])
    logs.move()
    shutil.copy(logs.source / LINK_KEYS_NAME, logs.target)
    async with logs.gateway(logs.target) as client:
        assert (await client.get(read["url"])).status_code == 200
        assert (await client.get(by_link["url"], headers=headers)).status_code == 200
        problem(await client.post(once["url"], content=photo(3)), 409, "link-used")


async def upload_by(client, url):
    answer = await client.post(url, content=photo(2))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_what_left_the_source_by_itself_is_gone(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    async with opened(logs.source) as log:
        for partition in range(log.partitions(IMAGES)):
            await log.trim(IMAGES, partition, (await log.bounds(IMAGES, partition)).end)
    assert logs.move() == "0 images, 0.0 MB moved; 1 deleted or expired ones stay gone.\n"
    async with logs.gateway(logs.target) as client:
        problem(await client.get(old["url"], headers=headers), 410, "image-gone")
        other = logs.headers["other"]
        problem(await client.get(old["url"], headers=other), 404, "image-not-found")


async def test_an_end_comes_along_and_what_has_ended_is_gone(logs, monkeypatch):
    headers, real = logs.headers["one"], time.time
    async with logs.gateway(logs.source) as client:
        ends = await upload(client, photo(1), headers, expires_in=3_600)
        monkeypatch.setattr(time, "time", lambda: real() - 7_200)
        ended = await upload(client, photo(2), headers, expires_in=3_600)
        monkeypatch.undo()
    assert logs.move().endswith("; 1 deleted or expired ones stay gone.\n")
    async with logs.gateway(logs.target) as client:
        told = await client.get(f"{ends['url']}/metadata", headers=headers)
        assert told.json()["expires_at"] == ends["expires_at"]
        problem(await client.get(ended["url"], headers=headers), 410, "image-gone")


async def test_an_image_that_is_damaged_is_named_and_the_others_come(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        damaged = await upload(client, photo(1), headers)
        whole = await upload(client, photo(2), headers)
    damage(logs.source / "log.sqlite3", damaged["id"])
    errors = logs.move(status=1)
    assert "import_failed" in errors
    assert damaged["id"] in errors
    async with logs.gateway(logs.target) as client:
        assert [each["former_ids"] for each in await listed(client, headers)] == [[whole["id"]]]
        problem(await client.get(damaged["url"], headers=headers), 404, "image-not-found")


async def test_the_source_stays_as_it_was(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        gone = await upload(client, photo(1), headers)
        await upload(client, photo(2), headers)
        await client.delete(gone["url"], headers=headers)
    before = rows_of(logs.source / "log.sqlite3")
    logs.move()
    assert rows_of(logs.source / "log.sqlite3") == before


class TestRefusals:
    async def test_a_source_that_is_none(self, logs):
        assert "neither a folder nor HOST:PORT" in logs.move(
            source=logs.folder / "nowhere", status=2
        )
        assert "no embedded log" in logs.move(source=logs.folder, status=2)

    async def test_a_log_into_itself(self, logs):
        async with logs.gateway(logs.source):
            pass
        errors = logs.move(target=logs.source, status=2)
        assert "is the log to import into" in errors
        shutil.copytree(logs.source, logs.folder / "copy")
        errors = logs.move(source=logs.folder / "copy", target=logs.source, status=2)
        assert "is the log to import into" in errors

    async def test_a_folder_that_a_gateway_uses(self, logs):
        async with logs.gateway(logs.source):
            assert "in use by another" in logs.move(status=2)
        with FolderLock(logs.target):
            assert "in use by another" in logs.move(status=2)

    @pytest.mark.parametrize("side", ["source", "target"])
    async def test_a_log_with_an_event_of_a_newer_version(self, logs, side):
        async with logs.gateway(logs.source) as client:
            await upload(client, photo(1), logs.headers["one"])
        async with opened(getattr(logs, side)) as log:
            await log.append(EVENTS, [NEWER])
        errors = logs.move(status=1)
        assert "upgrade imagegate" in errors
        async with opened(logs.target) as log:
            assert (await log.bounds(EVENTS, 0)).end == int(side == "target")

    async def test_settings_of_a_source_that_are_none(self, logs):
        file = logs.folder / "source.env"
        errors = logs.move("--source-env", file, source="127.0.0.1:9", status=2)
        assert "source.env cannot be read" in errors
        file.write_text("IMAGEGATE_KAFKA__TOPIC_PREFIX=old-\nIMAGEGATE_HTTP__PORT=80\n")
        errors = logs.move("--source-env", file, source="127.0.0.1:9", status=2)
        assert "source.env names IMAGEGATE_HTTP__PORT" in errors
        for text in ("hunter2\n", 'IMAGEGATE_KAFKA__SASL_PASSWORD="hunter2\n', "hunter2=hunter2\n"):
            file.write_text(f"# How to reach it\n{text}")
            errors = logs.move("--source-env", file, source="127.0.0.1:9", status=2)
            assert "source.env: line 2 is not IMAGEGATE_KAFKA__…=…" in errors
            assert "hunter2" not in errors
        async with logs.gateway(logs.source):
            pass
        file.write_text("IMAGEGATE_KAFKA__TOPIC_PREFIX=old-\n")
        assert "--source-env is for brokers" in logs.move("--source-env", file, status=2)


async def test_a_deletion_of_an_image_that_never_was_here_is_remembered(logs):
    async with opened(logs.source) as log:
        await log.append(EVENTS, [encode(ImageDeleted(image_id(7), "key:1"))])
    assert "1 deleted" in logs.move()
    async with in_process(logs.target) as client:
        problem(await client.get(f"/images/{image_id(7)}"), 410, "image-gone")


def damage(path, image_id):
    """Change a byte of an image."""
    position = address.parse(image_id).position
    table = f'"images-{position.partition}"'
    with sqlite3.connect(path) as connection:
        [value] = connection.execute(
            f'SELECT value FROM {table} WHERE "offset" = ?',  # noqa: S608 - a number
            (position.offset,),
        ).fetchone()
        changed = value[:-9] + bytes([value[-9] ^ 1]) + value[-8:]
        connection.execute(
            f'UPDATE {table} SET value = ? WHERE "offset" = ?',  # noqa: S608
            (changed, position.offset),
        )
    connection.close()


def rows_of(path):
    """Every row of every table of a database."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        rows = {
            name: connection.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608
            for name in tables
        }
    connection.close()
    return rows
