"""Images as files: names that are safe everywhere, and whole files or none."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from app.errors import ImageGoneError
from app.reader.files import ImageFiles, Layout, folder_of, path_of
from tests.support.facts import image_id

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{each}{n}" for each in ("com", "lpt") for n in range(10)),
}
OWNERS = [
    "",
    "key:abc",
    "key:ABC",
    "key:Abc",
    "con",
    "nul.txt",
    "..",
    ".",
    "ends in a dot.",
    "ends in a space ",
    "no-owner",
    "~no-owner",
    "https://issuer.example/realms/a#sub/ject\\x",
    "a" * 1_000,
    "a" * 999 + "b",
    "Zoë",
    "%7eno-owner",
    '<>:"/|?*',
]


class Picture:
    """An image to save, whose bytes may end in an error."""

    def __init__(self, data=b"picture", error=None, owner="", content_type="image/png"):
        self.id = image_id(1)
        self.created_at = datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC)
        self.content_type, self.content_length, self.owner = content_type, len(data), owner
        self.facts = {"id": self.id, "digest": hashlib.sha256(data).hexdigest(), "filename": "ü"}
        self.data, self.error = data, error

    async def chunks(self):
        yield self.data[:3]
        if self.error:
            raise self.error
        yield self.data[3:]


@pytest.fixture
def files(tmp_path):
    made = ImageFiles(tmp_path / "out", Layout.FLAT, tmp_path / "out/.state/unfinished")
    made.clear()
    return made


def files_in(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_no_two_owners_have_one_folder_whatever_the_file_system():
    names = [folder_of(owner) for owner in OWNERS]
    assert len({name.casefold() for name in names}) == len(OWNERS)


@pytest.mark.parametrize("owner", OWNERS)
def test_the_folder_of_an_owner_has_a_safe_name(owner):
    name = folder_of(owner)
    assert re.fullmatch(r"[a-z0-9%~_-]([a-z0-9%~_.-]{0,98}[a-z0-9%~_-])?", name)
    assert name.split(".")[0] not in DEVICES


def test_the_layouts_are_one_folder_a_folder_a_day_or_a_folder_an_owner():
    picture = Picture(owner="key:abc", content_type="image/jpeg")
    paths = {layout: path_of(picture, layout) for layout in Layout}
    assert paths == {
        Layout.FLAT: PurePosixPath(f"{picture.id}.jpg"),
        Layout.DATE: PurePosixPath(f"2026/01/02/{picture.id}.jpg"),
        Layout.OWNER: PurePosixPath(f"key%3aabc/{picture.id}.jpg"),
    }


async def test_an_image_is_a_file_with_its_facts_beside_it(files, tmp_path):
    picture = Picture()
    assert await files.save(picture)
    assert (tmp_path / f"out/{picture.id}.png").read_bytes() == b"picture"
    assert json.loads((tmp_path / f"out/{picture.id}.json").read_text("utf-8")) == picture.facts
    assert files_in(tmp_path) == {f"{picture.id}.png", f"{picture.id}.json"}


async def test_an_image_that_cannot_be_read_leaves_no_file(files, tmp_path):
    with pytest.raises(ImageGoneError):
        await files.save(Picture(error=ImageGoneError("It was deleted.")))
    assert files_in(tmp_path) == set()


async def test_a_file_that_is_there_is_left_and_half_of_one_is_written_again(files, tmp_path):
    picture = Picture()
    await files.save(picture)
    assert not await files.save(picture)
    place = tmp_path / f"out/{picture.id}.png"
    place.write_bytes(b"pic")
    assert await files.save(picture)
    assert place.read_bytes() == b"picture"


async def test_file_and_facts_are_flushed_before_either_has_its_name(files, tmp_path, monkeypatch):
    steps = []
    fsync, replace = "fsync", "replace"
    monkeypatch.setattr(f"os.{fsync}", lambda _: steps.append(fsync))
    real = type(tmp_path).replace

    def spy(path, target):
        steps.append(target.suffix)
        return real(path, target)

    monkeypatch.setattr(type(tmp_path), replace, spy)
    await files.save(Picture())
    await files.save(Picture())
    renamed = steps.index(".json")
    # Both files, and the new folder in the one above it; then the names, and the folder of those.
    assert steps[:renamed].count(fsync) >= 2
    assert steps[renamed:] == [".json", ".png", fsync]
