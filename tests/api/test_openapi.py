"""The OpenAPI document: current, valid, and kind to generators of client code."""

import base64
import json
import re
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.api import examples, problems, schemas
from app.imaging.info import Visibility
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from app.ingest.settings import MOST_SECONDS
from app.main import create_app
from app.settings import Settings
from tests.support.described import DOCUMENT, METHODS, answers, resolve
from tests.support.facts import info

FILE = Path(__file__).parents[2] / "openapi/openapi.json"
OPERATIONS = {
    f"{method} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
each_operation = pytest.mark.parametrize("name", OPERATIONS)
PROBLEM = "application/problem+json"
CLASSES = {each.code: each for each in answers()}
FRAMEWORK = {"not-found": 404, "method-not-allowed": 405}
COMPONENTS = {"schemas", "headers", "parameters", "examples", "securitySchemes"}


def codes(response):
    """The error codes that a response of the document lists."""
    return set(response["content"][PROBLEM]["examples"])


def nodes(value, path=()):
    """Every JSON object in the document, with where it is."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from nodes(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from nodes(inner, (*path, number))


def parameter_of(name, parameter):
    """The schema of a parameter of an operation."""
    parameters = map(resolve, OPERATIONS[name]["parameters"])
    [found] = [each["schema"] for each in parameters if each["name"] == parameter]
    return found


def test_the_file_is_the_document_of_the_application():
    assert json.loads(FILE.read_text("utf-8")) == DOCUMENT, "run make openapi"


def test_the_document_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["title"] == "imagegate"
    assert DOCUMENT["info"]["version"] == __version__
    known = {"openapi", "info", "paths", "components", "tags", "servers", "security"}
    assert set(DOCUMENT) == known
    assert DOCUMENT["security"] == []
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/", "{scheme}://{address}"]
    assert all(path.startswith("/") for path in DOCUMENT["paths"])
    for item in DOCUMENT["paths"].values():
        assert set(item) <= METHODS
    assert set(DOCUMENT["components"]) == COMPONENTS
    for named in DOCUMENT["components"].values():
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in named)
    # 3.2's, which confuses generators in a 3.1 document.
    assert not any("itemSchema" in node for _, node in nodes(DOCUMENT))


def test_every_reference_leads_somewhere_and_every_component_is_referred_to():
    referred = {node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node}
    known = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
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
def test_an_operation_lists_every_status_and_any_other_is_a_problem_too(name):
    responses = OPERATIONS[name]["responses"]
    assert list(responses) == sorted(responses)
    assert all(re.fullmatch(r"[2345]\d\d|default", status) for status in responses)
    assert {"400", "500", "default"} < set(responses)
    assert all(response["description"] for response in responses.values())


@each_operation
def test_a_status_lists_the_codes_of_its_errors_each_with_a_problem_as_it_is_answered(name):
    for status, response in OPERATIONS[name]["responses"].items():
        if not re.fullmatch(r"[45]\d\d", status):
            continue
        if name.startswith("head "):
            assert "content" not in response
            continue
        [(content_type, content)] = response["content"].items()
        assert content_type == PROBLEM
        kind = "BatchProblem" if name == "post /images/batch" else "Problem"
        assert content["schema"] == {"$ref": f"#/components/schemas/{kind}"}
        for code, example in content["examples"].items():
            problem = resolve(example)["value"]
            problems.Problem.model_validate(problem, strict=True)
            assert (problem["code"], str(problem["status"])) == (code, status)
            assert CLASSES[code].status == int(status)
            assert problem["title"] == CLASSES[code].title
            assert problem["retryable"] is CLASSES[code].retryable
            assert f"`{code}`: " in response["description"]


@each_operation
def test_the_default_is_what_the_framework_answers(name):
    default = OPERATIONS[name]["responses"]["default"]
    if not name.startswith("head "):
        assert codes(default) == set(FRAMEWORK)
        for code, example in default["content"][PROBLEM]["examples"].items():
            assert resolve(example)["value"]["status"] == FRAMEWORK[code]


def test_every_error_that_a_client_can_meet_is_listed_and_no_other():
    listed = {
        code
        for name, operation in OPERATIONS.items()
        for status, response in operation["responses"].items()
        if status[0] in "45" and not name.startswith("head ")
        for code in codes(response)
    }
    assert listed == set(CLASSES)
    assert set(DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]) == listed | set(FRAMEWORK)


def test_a_head_answers_what_the_download_does_without_a_body():
    head = OPERATIONS["head /images/{image_id}"]["responses"]
    get = OPERATIONS["get /images/{image_id}"]["responses"]
    assert set(get) - set(head) == {"206", "416"}
    assert set(head) <= set(get)
    assert not any("content" in response for response in head.values())


@each_operation
def test_every_header_of_an_answer_is_described_with_an_example(name):
    for status, response in OPERATIONS[name]["responses"].items():
        assert {"X-Request-ID", "X-Content-Type-Options"} <= set(response["headers"])
        for reference in response["headers"].values():
            header = resolve(reference)
            assert header["description"]
            assert isinstance(header["example"], str)
        assert ("Retry-After" in response["headers"]) == (status in {"429", "503"})
        says_allow = status == "default" or (name, status) == ("options /images", "200")
        assert ("Allow" in response["headers"]) == says_allow
        assert ("Content-Range" in response["headers"]) == (status in {"206", "416"})


@each_operation
def test_an_operation_declares_exactly_the_parameters_of_its_path(name):
    parameters = [resolve(each) for each in OPERATIONS[name]["parameters"]]
    declared = {each["name"] for each in parameters if each["in"] == "path"}
    assert declared == set(re.findall(r"{(\w+)}", name))
    for each in parameters:
        assert each["description"]
        assert each["schema"]["description"] == each["description"]
        assert "null" not in json.dumps(each["schema"])
        # /docs would send that of a header with each request that is tried out.
        assert "example" not in each
        assert each["in"] == "header" or each["schema"]["examples"]
        assert each["in"] != "path" or each["required"] is True
    keys = [(each["in"], each["name"]) for each in parameters]
    assert len(keys) == len(set(keys))


def test_the_headers_that_a_handler_reads_are_parameters():
    expected = {
        "get /images/{image_id}": {
            *("Range", "If-Range", "If-Match", "If-None-Match"),
            *("Want-Repr-Digest", "Want-Content-Digest"),
        },
        "head /images/{image_id}": {"If-Match", "If-None-Match", "Want-Repr-Digest"},
        "get /images/{image_id}/metadata": {"Want-Content-Digest"},
        "get /images": {"Want-Content-Digest"},
        "post /images": {
            *("Content-Digest", "Repr-Digest", "Want-Content-Digest", "Want-Repr-Digest"),
            "Idempotency-Key",
        },
        "get /streams/images": {"Last-Event-ID"},
        "post /images/batch": {
            *("Content-Digest", "Repr-Digest", "Want-Content-Digest", "Idempotency-Key"),
        },
    }
    for name, operation in OPERATIONS.items():
        parameters = [resolve(each) for each in operation["parameters"]]
        declared = {each["name"] for each in parameters if each["in"] == "header"}
        assert declared == expected.get(name, set()) | {"X-Request-ID"}


def test_every_schema_and_every_field_is_described():
    for schema in DOCUMENT["components"]["schemas"].values():
        assert schema["description"]
        for name, field in schema.get("properties", {}).items():
            assert resolve(field)["description"], name


def test_the_parameter_of_a_stream_is_a_number_that_clients_turn_into_text():
    parameters = map(resolve, OPERATIONS["get /streams/images"]["parameters"])
    [schema] = [each["schema"] for each in parameters if each["name"] == "Last-Event-ID"]
    assert (schema["type"], schema["minimum"]) == ("integer", -1)


def test_the_file_of_an_upload_is_binary_in_both_forms():
    content = OPERATIONS["post /images"]["requestBody"]["content"]
    form = resolve(content["multipart/form-data"]["schema"])
    assert form["required"] == ["file"]
    file = form["properties"]["file"]
    assert (file["type"], file["format"]) == ("string", "binary")
    assert list(content) == ["multipart/form-data", "application/octet-stream", "image/*"]
    for content_type in ("application/octet-stream", "image/*"):
        schema = content[content_type]["schema"]
        assert (schema["type"], schema["format"]) == ("string", "binary")


@pytest.mark.parametrize("status", ["200", "206"])
def test_a_download_is_binary_and_lists_octet_stream_first(status):
    content = OPERATIONS["get /images/{image_id}"]["responses"][status]["content"]
    assert list(content) == [
        "application/octet-stream",
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/gif",
        "image/avif",
        "image/heic",
    ]
    for each in content.values():
        assert each["schema"] == {"type": "string", "format": "binary"}


def test_every_integer_has_a_format_that_is_wide_enough():
    """Typed languages take one without a format for 32 bits."""
    integers = {path: node for path, node in nodes(DOCUMENT) if node.get("type") == "integer"}
    for path, schema in integers.items():
        narrow = schema.get("maximum", 2**63) < 2**31
        assert schema["format"] == ("int32" if narrow else "int64"), path
        assert all(isinstance(schema.get(bound, 0), int) for bound in ("minimum", "maximum")), path
    wide = {part for path, each in integers.items() if each["format"] == "int64" for part in path}
    assert {"sequence", "content_length", "received_bytes", "stored_bytes", "width"} <= wide


def test_what_a_server_never_accepts_is_not_offered():
    form = DOCUMENT["components"]["schemas"]["UploadForm"]["properties"]
    link = DOCUMENT["components"]["schemas"]["UploadLink"]["properties"]
    assert form["expires_in"]["maximum"] == MOST_SECONDS
    assert link["expires_in"]["anyOf"][0]["maximum"] == MOST_SECONDS


def test_what_a_server_accepts_is_not_excluded():
    """A format that is named twice, and a cursor that a form sends without a value."""
    assert not any("uniqueItems" in node for _, node in nodes(DOCUMENT))
    assert re.fullmatch(parameter_of("get /images", "cursor")["pattern"], "")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Profile", Profile),
        ("MetadataOption", MetadataOption),
        ("Visibility", Visibility),
        ("ErrorCode", sorted({*CLASSES, *FRAMEWORK})),
    ],
)
def test_an_enumeration_is_one_component_and_says_that_it_may_grow(name, values):
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["enum"] == list(values)
    assert "tolerate" in schema["description"]
    inline = {"UploadForm", "BatchForm", "parameters"}
    elsewhere = [
        path
        for path, node in nodes(DOCUMENT)
        if node.get("enum") == list(values) and path[-1] != name and not inline & set(path)
    ]
    assert elsewhere == []


@pytest.mark.parametrize(
    ("schema", "field", "name"),
    [
        ("Image", "profile", "Profile"),
        ("Image", "visibility", "Visibility"),
        ("Problem", "code", "ErrorCode"),
        ("UploadLink", "profile", "Profile"),
        ("UploadLink", "metadata", "MetadataOption"),
        ("UploadLink", "visibility", "Visibility"),
    ],
)
def test_a_field_with_known_values_refers_to_their_enumeration(schema, field, name):
    described = DOCUMENT["components"]["schemas"][schema]["properties"][field]
    referred = {node["$ref"] for _, node in nodes(described) if "$ref" in node}
    assert referred == {f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("field", "name"),
    [("profile", "Profile"), ("metadata", "MetadataOption"), ("visibility", "Visibility")],
)
def test_a_field_of_the_form_has_its_values_itself(field, name):
    """Some generators would send a reference as JSON, or generate code that does not compile."""
    described = DOCUMENT["components"]["schemas"]
    schema = described["UploadForm"]["properties"][field]
    assert (schema["type"], schema["enum"]) == ("string", described[name]["enum"])


def test_an_image_of_values_that_only_a_newer_gateway_knows_is_described_all_the_same():
    image = schemas.described("id", info(profile="tiny", visibility="friends"))
    assert (image.profile, image.visibility) == ("tiny", "friends")


def test_ids_and_cursors_have_a_pattern_that_their_examples_match():
    described = [node for _, node in nodes(DOCUMENT) if {"pattern", "examples"} <= set(node)]
    for schema in described:
        assert all(re.fullmatch(schema["pattern"], each) for each in schema["examples"])
    schemas_ = DOCUMENT["components"]["schemas"]
    for schema in (
        parameter_of("get /images/{image_id}", "image_id"),
        schemas_["Image"]["properties"]["id"],
        schemas_["Image"]["properties"]["former_ids"]["items"],
        schemas_["DownloadLink"]["properties"]["image_id"],
    ):
        assert re.fullmatch(schema["pattern"], examples.IMAGE_ID)
        assert not re.fullmatch(schema["pattern"], examples.IMAGE_ID[1:])
    for schema in (
        parameter_of("get /images", "cursor"),
        schemas_["ImagePage"]["properties"]["next_cursor"]["anyOf"][0],
    ):
        for sequence in (0, examples.SEQUENCE, 2**63 - 1):
            cursor = base64.urlsafe_b64encode(b"%d" % sequence).decode().rstrip("=")
            assert re.fullmatch(schema["pattern"], cursor)
        assert not re.fullmatch(schema["pattern"], "no cursor")


def test_links_lead_to_operations_and_their_parameters():
    by_id = {each["operationId"]: each for each in OPERATIONS.values()}
    links = [
        (OPERATIONS[name]["operationId"], link)
        for name in OPERATIONS
        for response in OPERATIONS[name]["responses"].values()
        for link in response.get("links", {}).values()
    ]
    leading = {(source, link["operationId"]) for source, link in links}
    assert {
        ("uploadImage", "downloadImage"),
        ("uploadImage", "describeImage"),
        ("uploadImage", "deleteImage"),
        ("listImages", "listImages"),
    } <= leading
    for _, link in links:
        parameters = {resolve(each)["name"] for each in by_id[link["operationId"]]["parameters"]}
        assert set(link["parameters"]) <= parameters


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
    assert set(problem["properties"]) == {*example, "retry_after", "outcome"}


class TestExamples:
    def test_an_image_is_one_that_the_gateway_would_answer(self):
        image = schemas.Image.model_validate_json(json.dumps(examples.IMAGE), strict=True)
        assert image.model_dump(mode="json") == examples.IMAGE
        page = schemas.ImagePage.model_validate_json(json.dumps(examples.IMAGE_PAGE), strict=True)
        assert page.model_dump(mode="json") == examples.IMAGE_PAGE

    def test_ids_and_digests_have_their_full_length(self):
        text = json.dumps(DOCUMENT)
        assert {len(each) for each in re.findall(r"sha256:([0-9a-f]*)", text)} == {64}
        assert {len(each) for each in re.findall(r"/images/([a-z2-7]{8,})", text)} == {32}
        assert {len(each) for each in re.findall(r"sha-256=:([^:]*):", text)} == {44}

    @pytest.mark.parametrize("as_form", [True, False])
    async def test_the_file_of_the_example_is_an_image_that_is_stored(self, client, as_form):
        content = OPERATIONS["post /images"]["requestBody"]["content"]
        if as_form:
            form = resolve(content["multipart/form-data"]["examples"]["form"])["value"]
            file = {"file": form.pop("file").encode("ascii")}
            response = await client.post("/images", files=file, data=form)
        else:
            value = resolve(content["application/octet-stream"]["examples"]["bytes"])["value"]
            response = await client.post("/images", content=value.encode("ascii"))
        assert response.status_code == 201

    async def test_an_id_in_an_example_could_be_one(self, client):
        response = await client.get(examples.IMAGE_PATH)
        assert response.json()["code"] == "image-not-found"

    async def test_a_cursor_in_an_example_is_one(self, client):
        response = await client.get("/images", params={"cursor": examples.CURSOR})
        assert response.status_code == 200

    def test_each_success_with_a_text_has_one(self):
        for operation in OPERATIONS.values():
            for status, response in operation["responses"].items():
                for content_type, content in response.get("content", {}).items():
                    if status[0] == "2" and content_type.startswith(("application/json", "text/")):
                        assert content["examples"]

    def test_events_read_as_a_stream_does(self):
        content = OPERATIONS["get /streams/images"]["responses"]["200"]["content"]
        text = resolve(content["text/event-stream"]["examples"]["events"])["value"]
        _, stored, deleted = text.strip().split("\n\n")
        assert (
            f"event: image.stored\ndata: {json.dumps(examples.IMAGE, separators=(',', ':'))}"
            in (stored)
        )
        assert f'data: {{"id": "{examples.IMAGE_ID}"}}' in deleted


async def test_the_application_serves_the_document():
    transport = httpx.ASGITransport(create_app(Settings.model_construct()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/openapi.json")).json() == DOCUMENT
