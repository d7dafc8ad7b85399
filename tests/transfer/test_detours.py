"""Imports by more than one way: what is deleted stays so, and nothing is lost on the way."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from app.errors import ConfigurationError, NotReadyError, NotWrittenError
from app.events.event import SigningBegan, encode
from app.log import EVENTS, IMAGES
from app.reader.source import ReadingHalf
from app.reader.view import View
from app.records.signature import NO_SIGNATURES
from app.records.writer import ImageWriter
from app.transfer.copy import Copier
from app.transfer.transfer import Transfer
from tests.support.facts import deleted
from tests.support.in_process import problem
from tests.support.shelf import Shelf
from tests.support.signing import OURS
from tests.support.transfers import Logs, listed, opened, photo, upload


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


async def trim(folder):
    async with opened(folder) as log:
        for partition in range(log.partitions(IMAGES)):
            await log.trim(IMAGES, partition, (await log.bounds(IMAGES, partition)).end)


async def test_a_deletion_that_comes_by_another_way_deletes_the_image_that_came_by_this_one(logs):
    headers, third = logs.headers["one"], logs.folder / "third"
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    logs.move()
    logs.move(target=third)
    async with logs.gateway(logs.target) as client:
        await client.delete(old["url"], headers=headers)
    async with logs.gateway(third) as client:
        [here] = await listed(client, headers)
    logs.move(source=logs.target, target=third)
    async with logs.gateway(third) as client:
        assert await listed(client, headers) == []
        for url in (old["url"], here["url"]):
            problem(await client.get(url, headers=headers), 410, "image-gone")
            problem(await client.get(f"{url}/metadata", headers=headers), 410, "image-gone")


async def test_what_is_known_of_one_target_says_nothing_of_another(logs):
    headers, third = logs.headers["one"], logs.folder / "third"
    state = ("--state-dir", logs.folder / "state")
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    logs.move(*state)
    async with logs.gateway(logs.target) as client:
        await client.delete(old["url"], headers=headers)
    logs.move(*state)
    assert logs.move(*state, target=third).startswith("1 images")
    async with logs.gateway(third) as client:
        assert (await client.get(old["url"], headers=headers)).status_code == 200


async def test_what_is_known_of_one_source_says_nothing_of_another(logs):
    headers, third = logs.headers["one"], logs.folder / "third"
    state = ("--state-dir", logs.folder / "state")
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    logs.move()
    async with logs.gateway(logs.target) as client:
        await client.delete(old["url"], headers=headers)
    logs.move(*state, source=logs.target, target=logs.folder / "fourth")
    assert logs.move(*state, target=third).startswith("1 images")


async def test_what_left_a_log_by_itself_and_came_back_comes_along_from_there(logs):
    headers, third = logs.headers["one"], logs.folder / "third"
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    logs.move()
    await trim(logs.source)
    assert logs.move(source=logs.target, target=logs.source).startswith("1 images")
    logs.move(target=third)
    async with logs.gateway(third) as client:
        assert (await client.get(old["url"], headers=headers)).status_code == 200


async def test_what_came_back_is_there_when_the_catalog_is_rebuilt(logs):
    headers = logs.headers["one"]
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    logs.move()
    await trim(logs.source)
    assert logs.move(source=logs.target, target=logs.source).startswith("1 images")
    (logs.source / "catalog.db").unlink()
    async with logs.gateway(logs.source) as client:
        assert (await client.get(old["url"], headers=headers)).status_code == 200
        assert len(await listed(client, headers)) == 1


async def test_what_left_one_log_by_itself_stays_in_the_log_that_it_came_from(logs):
    headers, third = logs.headers["one"], logs.folder / "third"
    async with logs.gateway(logs.source) as client:
        old = await upload(client, photo(1), headers, visibility="owner")
    logs.move()
    logs.move(target=third)
    await trim(logs.target)
    for folder in (logs.source, third):
        logs.move(source=logs.target, target=folder)
        async with logs.gateway(folder) as client:
            assert (await client.get(old["url"], headers=headers)).status_code == 200
            assert len(await listed(client, headers)) == 1


async def test_it_does_not_end_as_complete_where_the_source_became_unknown_meanwhile(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("app.transfer.transfer._PAGE", 5)
    async with opened(tmp_path / "source") as source_log, opened(tmp_path / "target") as log:
        shelf = Shelf(source_log)
        await shelf.put_many([bytes([each]) * 100 for each in range(20)], 1_000)
        async with AsyncExitStack() as views:
            source = await opened_view(views, source_log, tmp_path / "of-source")
            target = await opened_view(views, log, tmp_path / "of-target")
            facts = source.catalog.facts

            async def damaged(after, limit):
                if after > 0:
                    # As the follower does where the file is damaged.
                    source.feed.distrust_catalog()
                    await source.catalog.discard()
                return await facts(after, limit)

            monkeypatch.setattr(source.catalog, "facts", damaged)
            copier = Copier(source, log, ImageWriter(log), target)
            transfer = Transfer(source_log, source, log, target, copier, NO_SIGNATURES)
            with pytest.raises(NotReadyError, match="Run the command again"):
                await transfer.run()


async def test_without_its_keys_a_signed_log_is_no_source(tmp_path):
    async with opened(tmp_path / "source") as source_log, opened(tmp_path / "target") as log:
        # Behind it, a stranger's.
        began = OURS.sign(EVENTS, encode(SigningBegan((0,))))
        await source_log.append(EVENTS, [began, encode(deleted(1))])
        async with AsyncExitStack() as views:
            source, target = [
                await opened_view(views, each, tmp_path / f"of-{number}")
                for number, each in enumerate((source_log, log))
            ]
            copier = Copier(source, log, ImageWriter(log), target)
            transfer = Transfer(source_log, source, log, target, copier, NO_SIGNATURES)
            with pytest.raises(ConfigurationError, match="--source-env"):
                await transfer.run()
        assert (await log.bounds(EVENTS, 0)).end == 0


async def test_while_the_target_is_full_it_is_said_once_and_tried_less_and_less(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("app.transfer.transfer._RETRY_SECONDS", 0.01)
    async with opened(tmp_path / "source") as source_log, opened(tmp_path / "target") as log:
        await Shelf(source_log).put_many([bytes([each]) * 100 for each in range(8)], 1_000)
        appends = Counter()

        async def full(topic, records, deadline=None):
            appends[topic] += 1
            raise NotWrittenError("The disk is full.")

        monkeypatch.setattr(log, "append", full)
        async with AsyncExitStack() as views:
            source = await opened_view(views, source_log, tmp_path / "of-source")
            target = await opened_view(views, log, tmp_path / "of-target")
            copier = Copier(source, log, ImageWriter(log), target)
            transfer = Transfer(source_log, source, log, target, copier, NO_SIGNATURES)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(transfer.run(), 1)
    # Eight images, each after 0, 0.01, 0.03, 0.07 … seconds, the last of them 0.64 apart.
    assert 8 < appends[IMAGES] <= 8 * 8
    assert capsys.readouterr().out.count("import_waits") == 1


async def opened_view(views, log, folder):
    view = View(ReadingHalf(log), folder, NO_SIGNATURES)
    await view.open()
    views.push_async_callback(view.close)
    return view
