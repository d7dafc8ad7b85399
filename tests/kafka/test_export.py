"""`imagegate export`: the images in Kafka as files, whatever happens to the process."""

import asyncio
import json
import os
import pty
import random
import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.exporting import SECONDS, ended, export, exported, pictures_in
from tests.support.facts import until
from tests.support.shelf import Shelf

__all__ = ["export"]

pytestmark = pytest.mark.kafka

# `make faults` kills it more often.
KILLS = 10 if os.environ.get("FAULT_ROUNDS") else 1
CHUNK_BYTES = 16_384


@pytest.fixture
def shelf(log):
    return Shelf(log)


async def test_each_image_is_a_file_and_it_ends_where_the_log_ends(shelf, export, tmp_path):
    ids = await shelf.put_many([b"picture %d" % number for number in range(5)])
    await shelf.delete(ids[2])
    assert await ended(await export()) == (
        0,
        f"4 images, 0.0 MB written to {tmp_path / 'out'}.\n",
        "",
    )
    assert exported(tmp_path / "out") == shelf.stored
    await shelf.put(b"another")
    status, output, _ = await ended(await export())
    assert (status, output.split(" written")[0]) == (0, "1 images, 0.0 MB")
    assert exported(tmp_path / "out") == shelf.stored


async def test_files_that_are_there_are_not_written_again_by_another_group(shelf, export, tmp_path):
    await shelf.put(b"picture")
    assert (await ended(await export()))[0] == 0
    [path] = pictures_in(tmp_path / "out")
    before = path.stat().st_mtime_ns
    status, output, _ = await ended(await export("--group", f"another-{os.urandom(4).hex()}"))
    assert (status, "1 were there already" in output) == (0, True)
    assert path.stat().st_mtime_ns == before


async def test_layouts_make_folders_by_day_and_by_owner(shelf, export, tmp_path):
    one = await shelf.put(b"1", owner="key:abc")
    two = await shelf.put(b"2")
    for layout in ("date", "owner"):
        assert (await ended(await export("--layout", layout, out=tmp_path / layout)))[0] == 0
    assert exported(tmp_path / "date") == exported(tmp_path / "owner") == shelf.stored
    assert (tmp_path / f"owner/key%3aabc/{one}.png").exists()
    assert (tmp_path / f"owner/~no-owner/{two}.png").exists()
    assert len(list((tmp_path / "date").glob(f"2*/*/*/{one}.png"))) == 1


async def test_each_source_is_exported_for_itself_and_then_the_rest(shelf, export, tmp_path):
    door = [await shelf.put(b"1", source="door")]
    gate = [await shelf.put(b"2", source="gate"), await shelf.put(b"3", source="gate")]
    door.append(await shelf.put(b"4", source="door"))
    for source, expected in (("door", door), ("gate", door + gate)):
        assert (await ended(await export("--source", source)))[0] == 0
        assert sorted(exported(tmp_path / "out")) == sorted(expected)
    status, output, _ = await ended(await export("--source", "gate"))
    assert (status, output.split(" written")[0]) == (0, "0 images, 0.0 MB")
    without = await shelf.put(b"5")
    status, output, _ = await ended(await export())
    assert (status, "4 were there already" in output) == (0, True)
    assert sorted(exported(tmp_path / "out")) == sorted([*door, *gate, without])


async def test_times_bound_it_and_it_goes_on_behind_the_bound(shelf, export, tmp_path):
    await shelf.put(b"before")
    since = datetime.now(UTC) + timedelta(milliseconds=1)
    await until(lambda: datetime.now(UTC) > since + timedelta(milliseconds=1))
    within = await shelf.put(b"within")
    bound = datetime.now(UTC) + timedelta(milliseconds=1)
    await until(lambda: datetime.now(UTC) > bound + timedelta(milliseconds=1))
    behind = await shelf.put(b"behind")
    times = ("--since", since.isoformat(), "--until", bound.isoformat())
    assert (await ended(await export(*times)))[0] == 0
    assert [*exported(tmp_path / "out")] == [within]
    assert (await ended(await export()))[0] == 0
    assert {*exported(tmp_path / "out")} == {within, behind}


async def test_it_follows_until_it_is_interrupted(shelf, export, tmp_path):
    process = await export("--follow")
    await shelf.put(b"picture")
    await until(lambda: len(pictures_in(tmp_path / "out")) == 1, SECONDS)
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (130, "", "")


async def test_an_image_that_cannot_be_read_is_named_and_the_status_says_so(
    shelf, export, tmp_path
):
    wrong = await shelf.put(b"not its digest", digest="ab" * 32)
    right = await shelf.put(b"right")
    status, output, errors = await ended(await export())
    assert (status, "1 could not be read" in output) == (1, True)
    assert wrong in errors
    assert [*exported(tmp_path / "out")] == [right]


async def test_two_exports_into_one_folder_do_not_meet(shelf, export, tmp_path):
    first = await export("--follow")
    await shelf.put(b"picture")
    await until(lambda: pictures_in(tmp_path / "out"), SECONDS)
    status, _, errors = await ended(await export())
    assert status == 2
    assert "in use by another imagegate process" in errors
    assert first.returncode is None


async def test_progress_is_shown_on_a_terminal_only(shelf, export, tmp_path):
    await shelf.put(b"picture")
    ours, theirs = pty.openpty()
    try:
        process = await export(stderr=theirs)
        status, output, _ = await asyncio.wait_for(_ended_on(process), SECONDS)
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (status, output.startswith("1 images")) == (0, True)
    assert "100%" in shown
    assert "1 images, 0.0 MB" in shown


async def _ended_on(process):
    output, _ = await process.communicate()
    return process.returncode, output.decode(), ""


@pytest.mark.apache_kafka
async def test_killed_in_the_middle_and_resumed_the_folder_is_complete_and_has_no_half_file(
    shelf, export, tmp_path
):
    noise = random.Random(5)
    sizes = [noise.choice([300, 5_000, 4 * CHUNK_BYTES + 3]) for _ in range(110 * (KILLS + 1))]
    ids = await shelf.put_many([noise.randbytes(size) for size in sizes], CHUNK_BYTES)
    for each in ids[::11]:
        await shelf.delete(each)
    out = tmp_path / "out"
    for number in range(1, KILLS + 1):
        process = await export()
        # Each time a little further, in the middle of the writing.
        await until(lambda goal=80 * number: len(pictures_in(out)) >= goal, SECONDS)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        for picture in pictures_in(out):
            data = shelf.stored[picture.stem]
            assert picture.read_bytes() == data
            assert json.loads(picture.with_suffix(".json").read_text("utf-8"))["id"] == picture.stem
    assert len(pictures_in(out)) < len(shelf.stored)
    assert (await ended(await export()))[0] == 0
    assert exported(out) == shelf.stored
    assert not [*out.rglob("*.part"), *(out / ".imagegate-export/unfinished").iterdir()]
