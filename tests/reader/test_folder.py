"""The folder of a reader's catalog."""

import os
import stat
import tempfile

import pytest

from app.data_folder import FolderLock
from app.reader.folder import state_folder


@pytest.fixture(autouse=True)
def _temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def abandoned(tmp_path, name, age_seconds=3_600):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "catalog.db").touch()
    then = folder.stat().st_mtime - age_seconds
    os.utime(folder, (then, then))
    return folder


def test_a_temporary_folder_is_no_other_users_and_goes_with_its_reader(tmp_path):
    with state_folder(None) as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_what_a_killed_reader_left_is_removed_and_what_is_used_or_new_is_not(tmp_path):
    left = abandoned(tmp_path, "imagegate-reader-left")
    used = abandoned(tmp_path, "imagegate-reader-used")
    new = abandoned(tmp_path, "imagegate-reader-new", age_seconds=0)
    others = abandoned(tmp_path, "something-else")
    with FolderLock(used):
        then = used.stat().st_mtime - 3_600
        os.utime(used, (then, then))
        with state_folder(None):
            assert not left.exists()
            assert used.exists()
            assert new.exists()
            assert others.exists()


def test_a_folder_that_is_given_stays(tmp_path):
    with state_folder(str(tmp_path / "given")) as folder:
        folder.mkdir()
    assert folder.exists()
