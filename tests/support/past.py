"""The code of an earlier commit, to run a gateway of then beside one of today."""

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.gateway_process import until

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


def check_stopped(then, today, known, newer):
    """Check that an older gateway refuses newer images, and serves what it knew before.

    Args:
        then: A client of the older gateway.
        today: One of a gateway of today.
        known: An image that both know, as its upload was answered.
        newer: Images that only today's knows, in the order of their uploads.
    """
    until(lambda: then.get("/health/ready").status_code == 503)
    for image in newer:
        for headers in ({}, {"range": "bytes=0-9"}):
            answer = then.get(image["url"], headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
        assert _is_whole(image, today.get(image["url"]).content)
    assert _is_whole(known, then.get(known["url"]).content)
    for path in ("/images", f"{newer[0]['url']}/metadata"):
        assert then.get(path).status_code == 503
    listed = today.get("/images").json()["images"]
    assert [each["id"] for each in listed] == [each["id"] for each in (*newer[::-1], known)]


def _is_whole(image, data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}" == image["digest"]
