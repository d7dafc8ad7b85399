"""One gateway, and each client generated once, for all tests of this folder.

Without Node.js, npm, Java or Maven there is no TypeScript client, and its tests are skipped, as are
those of a linter without Node.js or npm; with TEST_REQUIRE_CLIENTS=1 they fail instead.
"""

import json
import os
import shutil

import pytest

from dev.maven import JarsUnavailableError
from tests.support import generated, images
from tests.support.credentials import make_key
from tests.support.gateway_process import GatewayProcess


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    key = make_key(folder, "images:write", "images:read", "images:list")
    with GatewayProcess(folder, IMAGEGATE_IMAGING__WORKERS=1) as gateway:
        gateway.key = key
        yield gateway.start()


@pytest.fixture(scope="session")
def python_client(tmp_path_factory):
    return generated.python(tmp_path_factory.mktemp("python"))


@pytest.fixture(scope="session")
def typescript_client(tmp_path_factory):
    if missing := generated.missing_tools():
        give_up(", ".join(missing))
    try:
        return generated.typescript(tmp_path_factory.mktemp("typescript"))
    except JarsUnavailableError as error:
        give_up(str(error))


@pytest.fixture(scope="session")
def node_modules():
    """The packages of dev/openapi/package-lock.json, installed."""
    if missing := [f"no {tool}" for tool in ("node", "npm") if shutil.which(tool) is None]:
        give_up(", ".join(missing), "a linter")
    return generated.install_node_modules()


@pytest.fixture(scope="session", params=["python", "typescript"])
def client(request):
    return request.getfixturevalue(f"{request.param}_client")


@pytest.fixture(scope="session")
def result(client, gateway):
    """The report of a client's script on its calls; `out.jpg` beside it is its download."""
    (client.folder / "img.jpg").write_bytes(images.jpeg())
    (client.folder / "broken.jpg").write_bytes(images.jpeg()[:1000])
    return json.loads(client.run(gateway.url, gateway.key))


def give_up(reason, needed="a TypeScript client"):
    """Skip, unless the environment says that there must be every client."""
    reason = f"needs {needed}: {reason}"
    if os.environ.get("TEST_REQUIRE_CLIENTS") == "1":
        pytest.fail(f"TEST_REQUIRE_CLIENTS=1: {reason}")
    pytest.skip(reason)
