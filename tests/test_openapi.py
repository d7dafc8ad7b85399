"""The OpenAPI document: current, valid, and kind to generators of client code."""

import json
import re
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.main import create_app
from app.settings import Settings

FILE = Path(__file__).parents[1] / "openapi/openapi.json"
DOCUMENT = create_app(Settings.model_construct()).openapi()
METHODS = {"get", "put", "post", "delete", "head", "patch", "options", "trace"}
OPERATIONS = {
    f"{method} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
each_operation = pytest.mark.parametrize("name", OPERATIONS)


def nodes(value, path=()):
    """Every JSON object in the document, with where it is."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from nodes(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from nodes(inner, (*path, number))


def test_the_file_is_what_the_application_says_now():
    assert json.loads(FILE.read_text("utf-8")) == DOCUMENT, "run make openapi"


def test_the_document_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["title"] == "imagegate"
    assert DOCUMENT["info"]["version"] == __version__
    assert set(DOCUMENT) <= {"openapi", "info", "paths", "components", "tags", "servers"}
    assert all(path.startswith("/") for path in DOCUMENT["paths"])
    for item in DOCUMENT["paths"].values():
        assert set(item) <= METHODS
    for name in DOCUMENT["components"]["schemas"]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    # 3.2's, which confuses generators in a 3.1 document.
    assert not any("itemSchema" in node for _, node in nodes(DOCUMENT))


def test_every_reference_leads_somewhere_and_every_schema_is_referred_to():
    referred = {node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node}
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert referred == known


def test_operation_ids_are_unique_and_short():
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids)) > 5
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+){1,2}", each) for each in ids)


@each_operation
def test_an_operation_has_one_tag_a_summary_and_a_description(name):
    operation = OPERATIONS[name]
    [tag] = operation["tags"]
    assert tag in {each["name"] for each in DOCUMENT["tags"]}
    assert operation["summary"]
    assert operation["description"]


@each_operation
def test_an_operation_answers_every_error_with_a_problem(name):
    responses = OPERATIONS[name]["responses"]
    content = responses["default"]["content"]
    assert content == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    assert all(code == "default" or re.fullmatch(r"[23]\d\d", code) for code in responses)
    assert all(response["description"] for response in responses.values())


@each_operation
def test_an_operation_declares_exactly_the_parameters_of_its_path(name):
    parameters = OPERATIONS[name].get("parameters", [])
    declared = {each["name"] for each in parameters if each["in"] == "path"}
    assert declared == set(re.findall(r"{(\w+)}", name))
    for each in parameters:
        assert each["description"]
        assert "schema" in each
        assert each["in"] != "path" or each["required"] is True
    keys = [(each["in"], each["name"]) for each in parameters]
    assert len(keys) == len(set(keys))


def test_the_file_of_an_upload_is_binary_in_both_forms():
    content = OPERATIONS["post /images"]["requestBody"]["content"]
    form = content["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    file = form["properties"]["file"]
    assert (file["type"], file["format"]) == ("string", "binary")
    assert content["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}
    assert next(iter(content)) == "multipart/form-data"


@pytest.mark.parametrize("status", ["200", "206"])
def test_a_download_is_binary_and_lists_octet_stream_first(status):
    content = OPERATIONS["get /images/{image_id}"]["responses"][status]["content"]
    assert list(content) == [
        "application/octet-stream",
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/gif",
    ]
    for each in content.values():
        assert each["schema"] == {"type": "string", "format": "binary"}


def test_what_has_no_body_declares_none():
    for name, status in (
        ("delete /images/{image_id}", "204"),
        ("head /images/{image_id}", "200"),
        ("get /images/{image_id}", "304"),
    ):
        assert "content" not in OPERATIONS[name]["responses"][status]


def test_a_problem_is_described_as_it_is_answered():
    problem = DOCUMENT["components"]["schemas"]["Problem"]
    [example] = problem["examples"]
    assert set(problem["required"]) == set(example)
    assert set(problem["properties"]) == {*example, "outcome"}


async def test_the_application_serves_the_document():
    transport = httpx.ASGITransport(create_app(Settings.model_construct()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.get("/openapi.json")).json() == DOCUMENT
