"""Sieges: how long each attack lasts, the gateways that are attacked, and the table.

`make siege SECONDS=n` sets SIEGE_SECONDS and runs every row against a gateway of its own, beside a
normal client whose answers, times and the gateway's memory are asserted. Without it, as in `make
test`, only the rows marked `cheap` run, for a moment, one after the other against one gateway, and
only statuses are asserted: times would fail on a machine that does something else as well.
"""

import asyncio
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, until
from tests.support.siege import given, table
from tests.support.siege.siege import besiege, harass

SECONDS = float(os.environ.get("SIEGE_SECONDS") or 0)
# Three uploads, seven downloads and fifteen probes.
CHEAP_SECONDS = 1.5
# A gateway applies 4,000 a second when it starts.
FACTS = 20_000 if SECONDS else 2_000
ROWS = pytest.StashKey[list]()


def pytest_configure(config):
    config.addinivalue_line("markers", "cheap: a row of a matrix that every run has time for")
    config.stash[ROWS] = []


def pytest_collection_modifyitems(config, items):
    if SECONDS:
        return
    rows = [item for item in items if "tests/siege/" in item.nodeid]
    dear = [item for item in rows if not item.get_closest_marker("cheap")]
    items[:] = [item for item in items if item not in dear]
    if dear:
        config.hook.pytest_deselected(items=dear)


def pytest_terminal_summary(terminalreporter, config):
    if not (rows := config.stash[ROWS]):
        return
    text = table.table(rows)
    path = config._tmp_path_factory.getbasetemp() / "siege.md"
    path.write_text(f"{text}\n", "utf-8")
    terminalreporter.section("Sieges")
    terminalreporter.line(text)
    for name, outcome in rows:
        terminalreporter.line(f"answers to {name}: {outcome.attack['answers']}")
    terminalreporter.line(f"To put it on its page: python -m tests.support.siege.table {path}")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The files that attacks send."""
    return given.write_files(tmp_path_factory.mktemp("files"), with_bombs=bool(SECONDS))


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """A data folder with facts and the images that are read, and their paths."""
    folder = tmp_path_factory.mktemp("siege") / "data"
    asyncio.run(given.fill_facts(folder, FACTS))
    with GatewayProcess(folder) as gateway, gateway.start().client() as client:
        paths = given.store_images(client)
        client.close()
        assert gateway.terminate() == 0
    return folder, paths


@pytest.fixture(scope="session")
def start_gateway(stored, tmp_path_factory):
    """Start gateways on copies of that folder; each ends with the tests, unless it has before."""
    with ExitStack() as stack:

        def start(program=None, **settings):
            folder = tmp_path_factory.mktemp("gateway") / "data"
            shutil.copytree(stored[0], folder)
            gateway = GatewayProcess(folder, program=program, **settings)
            return stack.enter_context(gateway).start()

        yield start


@pytest.fixture(scope="session")
def shared_gateway(start_gateway):
    """The gateway of the cheap rows with default settings."""
    return start_gateway()


@pytest.fixture
def siege(request, files, stored, start_gateway):
    """Assert that a gateway holds against an attack: `await siege(attack)`."""
    paths = files | stored[1]
    row = request.node.originalname.removeprefix("test_").replace("_", " ")

    async def run(attack, program=None, **settings):
        is_shared = not (SECONDS or program or settings)
        if is_shared:
            gateway = request.getfixturevalue("shared_gateway")
        else:
            gateway = start_gateway(program, **settings)
        try:
            if SECONDS:
                outcome = await besiege(gateway, attack, paths, SECONDS)
                request.config.stash[ROWS].append((row, outcome))
                assert outcome.broken() == []
            else:
                await asyncio.to_thread(calm, gateway, files["photo"])
                under = await harass(gateway, attack, paths, CHEAP_SECONDS)
                assert under.refused() == {}
            assert gateway.mistakes() == []
        finally:
            if not is_shared:
                gateway.kill()

    return run


def calm(gateway, photo):
    """Wait until nothing is left of the attack before."""
    data = Path(photo).read_bytes()
    with gateway.client() as client:
        until(lambda: client.post("/images", content=data).status_code == 201)
