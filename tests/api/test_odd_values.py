"""Every parameter and header of every route, with values that no client means.

The routes are those of the application, the parameters those of its description.
"""

import json
from urllib.parse import quote_from_bytes

import pytest

from tests.support.asking import ask, route_of
from tests.support.described import DOCUMENT, operation_of, resolve
from tests.support.routes import routes

MODULE = pytest.mark.asyncio(loop_scope="module")

ROUTES = sorted(name for name, _ in routes())
EMPTY = [b"", b"  "]
# Each is the values of the lines, or parameters, of one name.
ODD = [
    *([each] for each in EMPTY),
    [b"", b""],
    [b"1", b"2"],
    [b"x" * 8_000],
    [b"9" * 5_000],
    ["Größe €".encode()],
    ["Größe".encode("latin-1")],
    [b"\xff\xfe"],
    [b"%00", b"nan"],
    [b'"', b"W/", b"*", b",", b"=;"],
]
# Headers that are read, and that no operation names.
UNNAMED = {
    "accept",
    "accept-encoding",
    "access-control-request-method",
    "content-encoding",
    "content-type",
    "expect",
    "host",
    "if-modified-since",
    "origin",
    "sec-fetch-site",
    "x-api-key",
    "authorization",
}


def parameters(operation, place):
    found = map(resolve, operation.get("parameters", []))
    return {each["name"].lower() for each in found if each["in"] == place}


OPERATIONS = [each for item in DOCUMENT["paths"].values() for each in item.values()]
HEADERS = sorted(UNNAMED.union(*(parameters(each, "header") for each in OPERATIONS)))
FORM = operation_of("POST", "/images")["requestBody"]["content"]["multipart/form-data"]["schema"]
OPTIONS = set(resolve(FORM)["properties"])
QUERY = OPTIONS.union(*(parameters(each, "query") for each in OPERATIONS))


def queries(name, values):
    """Yield a query with each parameter that a route has, and one with all that others have."""
    method, path = name.split()
    own = parameters(operation_of(method, path) or {}, "query")
    if name == "POST /images":
        own |= OPTIONS
    for parameters_of in (*([each] for each in sorted(own)), sorted(QUERY - own)):
        yield "&".join(
            f"{parameter}={quote_from_bytes(each)}"
            for parameter in parameters_of
            for each in values
        ).encode()


@MODULE
@pytest.mark.parametrize("name", ROUTES)
class TestRoute:
    async def test_no_value_is_a_fault_of_the_gateway(self, shared_client, picture, name):
        route, found = route_of(name, picture.id), []
        for values in ODD:
            for header in HEADERS:
                lines = [(header.encode(), each) for each in values]
                status, body = await ask(shared_client, route, headers=lines)
                found += judged(status, body, (header, values))
            for query in queries(name, values):
                status, body = await ask(shared_client, route, query)
                found += judged(status, body, query)
        assert not found

    @pytest.mark.parametrize("value", EMPTY)
    async def test_an_empty_parameter_is_one_that_is_not_given(
        self, shared_client, picture, name, value
    ):
        route = route_of(name, picture.id)
        status, _ = await ask(shared_client, route)
        for query in queries(name, [value]):
            empty, body = await ask(shared_client, route, query)
            assert empty == status, (query, body)


@MODULE
@pytest.mark.parametrize("value", EMPTY)
async def test_an_event_id_that_is_empty_is_one_that_is_not_given(shared_client, value):
    header = (b"last-event-id", value)
    status, body = await ask(shared_client, ("GET", "/streams/images"), headers=[header])
    assert (status, body[:1]) == (200, b":"), body


def judged(status, body, case):
    """Yield what is wrong with an answer."""
    if status >= 500 or (status >= 400 and body and json.loads(body)["status"] != status):
        yield case, status, body[:200]
