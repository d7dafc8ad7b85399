"""One gateway, and each client generated once, for all tests of this folder.

A client that this machine lacks a tool for is skipped, as are the tests of a linter without Node.js
or npm; with TEST_REQUIRE_CLIENTS=1 they fail instead.
"""

import functools
import json
import os
import shutil

import pytest

from dev.maven import JarsUnavailableError
from tests.support import generated, images
from tests.support.credentials import bearer, make_key
from tests.support.gateway_process import GatewayProcess
from tests.support.sdks import SDKS, selected


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """A gateway with one image, so that a list has a second page."""
    folder = tmp_path_factory.mktemp("gateway")
    key = make_key(folder, "images:write", "images:read", "images:list", "images:delete")
    with GatewayProcess(folder, IMAGEGATE_IMAGING__WORKERS=1) as gateway:
        gateway.key = key
        gateway.start()
        with gateway.client(headers=bearer(key)) as http:
            gateway.image = http.post("/images", content=images.png()).json()
        yield gateway


@pytest.fixture(scope="session")
def make_client(tmp_path_factory):
    """Make a client by its name, once."""
    made = {}

    def make(name):
        [sdk] = [each for each in SDKS if each.name == name]
        if missing := sdk.missing():
            give_up(", ".join(missing), f"the client {name}")
        if name not in made:
            try:
                made[name] = generated.make(sdk, tmp_path_factory.mktemp(name))
            except JarsUnavailableError as error:
                give_up(str(error), f"the client {name}")
        return made[name]

    return make


@pytest.fixture(scope="session")
def python_client(make_client):
    return make_client("openapi-python-client")


@pytest.fixture(scope="session")
def typescript_client(make_client):
    return make_client("typescript-fetch")


@pytest.fixture(scope="session")
def node_modules():
    """The packages of dev/openapi/package-lock.json, installed."""
    if missing := [f"no {tool}" for tool in ("node", "npm") if shutil.which(tool) is None]:
        give_up(", ".join(missing), "a linter")
    return generated.install_packages(generated.LINTERS)


@pytest.fixture(scope="session", params=[each.name for each in selected()])
def client(request, make_client):
    return make_client(request.param)


@pytest.fixture(scope="session")
def report_of(make_client, gateway):
    """Run a client's program once, by its name; returns its report."""

    @functools.cache
    def report_of(name):
        client = make_client(name)
        (client.folder / "img.jpg").write_bytes(images.jpeg())
        (client.folder / "notes.txt").write_text("No picture.\n")
        return json.loads(client.run(gateway.url, gateway.key))

    return report_of


@pytest.fixture(scope="session")
def report(client, report_of):
    """The report of a client's program on its calls; `out.jpg` beside it is its download."""
    return report_of(client.sdk.name)


def give_up(reason, needed):
    """Skip, unless the environment says that there must be every client."""
    reason = f"{needed} needs: {reason}"
    if os.environ.get("TEST_REQUIRE_CLIENTS") == "1":
        pytest.fail(f"TEST_REQUIRE_CLIENTS=1: {reason}")
    pytest.skip(reason)
