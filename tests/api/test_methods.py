"""HEAD and OPTIONS at every path that has a route."""

import asyncio

import pytest

from tests.support.asking import ask, route_of
from tests.support.credentials import make_key
from tests.support.in_process import in_process, problem
from tests.support.routes import routes

MODULE = pytest.mark.asyncio(loop_scope="module")
PATHS = sorted({name.split()[1] for name, _ in routes()})
READ = [path for path in PATHS if f"GET {path}" in {name for name, _ in routes()}]


@MODULE
@pytest.mark.parametrize("path", READ)
async def test_a_head_has_the_status_of_the_get_and_no_body(shared_client, picture, path):
    _, path = route_of(f"GET {path}", picture.id)
    got, _ = await ask(shared_client, ("GET", path))
    status, body = await ask(shared_client, ("HEAD", path))
    assert (status, body) == (got, b"")


@MODULE
@pytest.mark.parametrize("path", ["/images", "/health/live", "/images/ID/metadata"])
async def test_a_head_has_the_headers_of_the_get(shared_client, picture, path):
    path = path.replace("ID", picture.id)
    get, head = [await shared_client.request(method, path) for method in ("GET", "HEAD")]
    changing = {"date", "x-request-id"}
    assert dict(head.headers) | dict.fromkeys(changing) == dict(get.headers) | dict.fromkeys(
        changing
    )


@MODULE
async def test_a_head_of_a_stream_leaves_nothing_behind(shared_client):
    before = len(asyncio.all_tasks())
    for path in ("/streams/images", "/streams/images.mjpeg"):
        assert (await asyncio.wait_for(shared_client.head(path), 5)).status_code == 200
    assert len(asyncio.all_tasks()) == before


@MODULE
@pytest.mark.parametrize("path", PATHS)
async def test_options_name_every_method_of_the_path(shared_client, picture, path):
    named = {name.split()[0] for name, _ in routes() if name.split()[1] == path}
    if path.startswith("/images/") and path.endswith("}"):
        assert named == {"GET", "HEAD", "DELETE"}
    _, asked = route_of(f"GET {path}", picture.id)
    answer = await shared_client.options(asked)
    allowed = set(answer.headers["allow"].split(", "))
    assert answer.status_code in (200, 204)
    assert allowed == named | {"OPTIONS"} | ({"HEAD"} if "GET" in named else set())


@MODULE
async def test_options_of_the_server_name_those_of_all_and_of_no_path_are_a_404(shared_client):
    status, _ = await ask(shared_client, ("OPTIONS", "*"))
    assert status == 204
    problem(await shared_client.options("/nothing"), 404, "not-found")


@MODULE
async def test_a_method_that_a_path_lacks_is_answered_with_those_that_it_has(shared_client):
    answer = await shared_client.put("/images")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"


@MODULE
@pytest.mark.parametrize("path", PATHS)
async def test_every_method_that_a_path_lacks_is_a_405_that_names_the_others(
    shared_client, picture, path
):
    _, path = route_of(f"GET {path}", picture.id)
    allowed = (await shared_client.options(path)).headers["allow"]
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - {*allowed.split(", ")}:
        answer = await shared_client.request(method, path)
        assert (answer.status_code, answer.headers.get("allow")) == (405, allowed), method


async def test_a_head_needs_the_credential_of_the_get(tmp_path):
    make_key(tmp_path, "admin")
    async with in_process(tmp_path) as client:
        for path in ("/images", "/streams/images", "/metrics"):
            assert (await client.head(path)).status_code == 401
        assert (await client.head("/health/live")).status_code == 200
        assert (await client.options("/images/" + "a" * 32)).status_code == 204
