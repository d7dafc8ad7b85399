"""`imagegate export` in processes of its own, and the files that it wrote."""

import asyncio
import hashlib
import json

import pytest

from app.log import EVENTS
from tests.support.commands import Command

SECONDS = 60


@pytest.fixture
async def export(kafka, log, tmp_path):
    """Start the command into `out` with these arguments; it ends with the test."""
    running = []

    async def start(*arguments, out=tmp_path / "out", **streams):
        prefix = log._topics.names[EVENTS].removesuffix(EVENTS)
        process = await Command.start(
            *("export", "--kafka", kafka.bootstrap_servers, "--out", out, *arguments),
            environment={"IMAGEGATE_KAFKA__TOPIC_PREFIX": prefix, "TERM": "xterm"},
            **streams,
        )
        running.append(process)
        return process

    yield start
    for each in running:
        each.close()


async def ended(process, seconds=SECONDS):
    """Return the exit status, what it printed, and its errors."""
    async with asyncio.timeout(seconds):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def exported(folder):
    """The files of images below a folder, by id, with their side-cars."""
    found = {}
    for path in folder.rglob("*.json"):
        facts = json.loads(path.read_text("utf-8"))
        [picture] = [each for each in path.parent.glob(f"{path.stem}.*") if each != path]
        found[path.stem] = picture.read_bytes()
        assert facts["id"] == path.stem
        assert facts["digest"] == hashlib.sha256(found[path.stem]).hexdigest()
    return found


def pictures_in(folder):
    return [path for path in folder.rglob("*.png") if path.parent.name != "unfinished"]
