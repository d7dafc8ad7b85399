"""The code of an earlier commit, to run a gateway of then beside one of today."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]


def program_of(commit, folder):
    """Return how to start `imagegate` of a commit, whose code is put into `folder`.

    A clone without the history skips the test.
    """
    try:
        unpack(commit, folder, "app")
    except LookupError as error:
        pytest.skip(f"needs the history: {error}")
    # Before the code of today, which is installed in place.
    start = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); from app.cli.main import main; main()"
    )
    return [sys.executable, "-P", "-c", start]


def unpack(commit, folder, *paths):
    """Put files of a commit into `folder`, all without paths; a LookupError says why it fails."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit, *paths],
        cwd=_REPOSITORY,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        raise LookupError(f"git archive {commit}: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
