"""`imagegate forget` and `imagegate sweep`, as their exit status, their text and a gateway say."""

import time

import pytest

from app.cli.known import known_log
from app.errors import NotReadyError
from app.events.event import SigningBegan, encode
from app.log import EVENTS
from app.settings import load
from tests.support import commands, images
from tests.support.credentials import bearer, make_key, owner_of
from tests.support.facts import deleted
from tests.support.in_process import in_process, problem
from tests.support.signing import OURS
from tests.support.transfers import opened

SCOPES = ("images:write", "images:read", "images:list")
JPEG = images.jpeg(images.photo((40, 30)))


@pytest.fixture
def keys(tmp_path):
    return [make_key(tmp_path, *SCOPES) for _ in range(2)]


async def upload(client, key, name="img.jpg", **fields):
    files = {"file": (name, JPEG)}
    answer = await client.post("/images", files=files, data=fields, headers=bearer(key))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_everything_of_one_owner_is_gone_and_nothing_of_others(tmp_path, keys):
    one, other = keys
    async with in_process(tmp_path) as client:
        gone = [await upload(client, one, "face-of-a-friend.jpg") for _ in range(3)]
        kept = await upload(client, other)
    for name in ("log.sqlite3", "catalog.db"):
        assert b"face-of-a-friend" in (tmp_path / name).read_bytes()
    environment = {"IMAGEGATE_DATA_DIR": tmp_path}
    arguments = ("forget", "--owner", owner_of(one))
    said = commands.run(*arguments, "--dry-run", **environment)
    assert said == f"3 images of {owner_of(one)}, 0.0 MB, would be deleted.\n"
    said = commands.run(*arguments, **environment)
    assert said == (
        f"3 images of {owner_of(one)}, 0.0 MB, are deleted for ever. Their bytes and file names are"
        " erased; backups still have them.\n"
    )
    assert not [each for each in tmp_path.iterdir() if b"face-of-a-friend" in each.read_bytes()]
    said = commands.run(*arguments, **environment)
    assert said.startswith(f"0 images of {owner_of(one)}: nothing was deleted.")
    async with in_process(tmp_path) as client:
        for image in gone:
            problem(await client.get(image["url"], headers=bearer(one)), 410, "image-gone")
        assert (await client.get(kept["url"], headers=bearer(other))).status_code == 200


@pytest.mark.parametrize("command", [("forget", "--owner", "key:1"), ("sweep",), ("import",)])
async def test_without_its_keys_nothing_is_written_into_a_log_that_is_signed(tmp_path, command):
    async with opened(tmp_path / "log") as log:
        began = OURS.sign(EVENTS, encode(SigningBegan((0,))))
        await log.append(EVENTS, [began, encode(deleted(1))])
    async with opened(tmp_path / "source") as log:
        await log.append(EVENTS, [encode(deleted(2))])
    more = (
        (tmp_path / "source", "--state-dir", tmp_path / "state") if command == ("import",) else ()
    )
    for _ in range(2 if more else 1):
        said = commands.run(*command, *more, status=2, IMAGEGATE_DATA_DIR=tmp_path / "log")
        assert "set IMAGEGATE_KAFKA__SIGNING_KEYS" in said
    async with opened(tmp_path / "log") as log:
        assert (await log.bounds(EVENTS, 0)).end == 2


async def test_nothing_is_said_of_a_log_that_had_to_be_read_anew_meanwhile(tmp_path):
    async with opened(tmp_path):
        pass

    async def run():
        async with known_log(load(data_dir=tmp_path)) as (_, view):
            view.feed.distrust_catalog()
            await view.catalog.discard()
            view.feed.start_epoch(await view.catalog.reset(view.feed.progress.identity))

    with pytest.raises(NotReadyError, match="Run the command again"):
        await run()


def test_what_can_be_no_owner_is_refused(tmp_path):
    for name in ("", "a\u202eb"):
        said = commands.run(
            "forget", "--owner", name, status=2, IMAGEGATE_DATA_DIR=tmp_path / "data"
        )
        assert "can be no owner" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [("sweep",), ("forget", "--owner", "key:h3x8w2")])
def test_a_folder_without_a_log_is_refused_and_none_is_made(tmp_path, arguments):
    said = commands.run(*arguments, status=2, IMAGEGATE_DATA_DIR=tmp_path / "data")
    assert "There is no embedded log" in said
    assert not (tmp_path / "data").exists()


async def test_the_sweep_deletes_what_has_expired_for_a_minute(tmp_path, keys, monkeypatch):
    real = time.time
    async with in_process(tmp_path) as client:
        await upload(client, keys[0])
        # As if uploaded two hours ago.
        monkeypatch.setattr(time, "time", lambda: real() - 7_200)
        ended = await upload(client, keys[0], expires_in=3_600)
        monkeypatch.undo()
        headers = bearer(keys[0])
        problem(await client.get(ended["url"], headers=headers), 410, "image-gone")
    for count in (1, 0):
        said = commands.run("sweep", IMAGEGATE_DATA_DIR=tmp_path)
        assert said == f"{count} expired images deleted.\n"
    async with in_process(tmp_path) as client:
        told = problem(await client.get(ended["url"], headers=headers), 410, "image-gone")
        assert told["detail"] == "The image was deleted."
