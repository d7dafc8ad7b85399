"""Clients that generators make of openapi/openapi.json, compiled, against a running gateway."""

import hashlib
import json
import re
from importlib import metadata

import pytest

from tests.support import generated
from tests.support.credentials import bearer, owner_of
from tests.support.generated import ROOT
from tests.support.sdks import ALWAYS, SDKS

# Files that a tool writes. `report.*` is of the tests alone.
NOT_SHOWN = {"go.mod", "go.sum"}


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def page(sdk):
    return (ROOT / f"docs/clients/{sdk.language}.md").read_text("utf-8")


def without_heading(program):
    """A program without the comment, or the docstring, that it begins with."""
    return re.sub(r'\A(?:"""[^"]*"""|(?://.*\n)+)', "", program)


def operation_ids():
    paths = json.loads(generated.DOCUMENT.read_text("utf-8"))["paths"]
    return [operation["operationId"] for item in paths.values() for operation in item.values()]


class TestCalls:
    """The same calls by every client: see its program in programs/."""

    def test_an_upload_with_an_option_returns_the_image(self, client, report, gateway):
        image = report["image"]
        assert re.fullmatch("[a-z2-7]{32}", image["id"])
        assert image["profile"] == "lossless"
        assert image["filename"] == "img.jpg"
        assert image["owner"] == owner_of(gateway.key)
        assert image["visibility"] == "owner"
        received = (client.folder / "img.jpg").read_bytes()
        assert image["receipt"]["received_bytes"] == len(received)
        assert image["receipt"]["received_digest"] == digest(received)

    def test_a_download_is_the_bytes_of_the_digest(self, client, report):
        downloaded = (client.folder / "out.jpg").read_bytes()
        assert report["image"]["digest"] == digest(downloaded)
        assert report["image"]["content_length"] == len(downloaded)

    def test_two_pages_list_the_images_newest_first(self, report):
        first, second = report["pages"]
        assert first == report["image"]["id"] != second

    def test_a_refused_upload_is_a_problem_with_status_and_code(self, report):
        assert report["refused"] == [415, "unsupported-format"]

    def test_a_deleted_image_is_gone(self, report, gateway):
        assert report["gone"] == [410, "image-gone"]
        with gateway.client(headers=bearer(gateway.key)) as http:
            assert http.get(report["image"]["url"]).status_code == 410


class TestExactlyOnce:
    """Keys and batches, by the two clients of `ALWAYS`."""

    @pytest.fixture(params=ALWAYS)
    def report(self, request, report_of):
        return report_of(request.param)

    def test_an_upload_that_is_sent_again_under_its_key_is_stored_once(self, report):
        one, other = report["again"]
        assert one == other

    def test_a_batch_has_a_result_for_each_image(self, report):
        stored, refused = report["batch"]
        assert (stored["status"], refused["status"]) == (201, 415)
        assert report["stored"] == [stored["image"]["id"]]
        assert refused["problem"]["code"] == "unsupported-format"


class TestPython:
    def test_the_types_of_the_client_and_of_its_user_agree(self, python_client):
        assert "Success: no issues found" in generated.check_types(python_client)

    def test_there_is_a_function_for_every_operation(self, python_client):
        names = {path.stem for path in python_client.folder.glob("imagegate_client/api/*/*.py")}
        for each in operation_ids():
            assert re.sub("([A-Z])", r"_\1", each).lower() in names

    def test_the_generator_leaves_out_only_what_no_client_needs(self, python_client):
        said = python_client.said
        assert re.findall(r"WARNING parsing (\S+ \S+) within", said) == [
            "POST /images",
            "GET /streams/images.mjpeg",
        ]
        assert "Unsupported content type image/*" in said
        assert "Unsupported content_type multipart/x-mixed-replace" in said

    @pytest.mark.parametrize(
        ("module", "returns"),
        [
            ("images/upload_image", "Image | Problem"),
            ("images/upload_batch", "BatchProblem | BatchResults"),
            ("images/download_image", "Any | File | Problem"),
            ("images/list_images", "ImagePage | Problem"),
            ("images/describe_image", "Image | Problem"),
        ],
    )
    def test_a_call_returns_what_it_is_for_or_a_problem(self, python_client, module, returns):
        code = (python_client.folder / f"imagegate_client/api/{module}.py").read_text("utf-8")
        assert f") -> {returns} | None:" in code

    def test_every_argument_is_described(self, python_client):
        for path in python_client.folder.glob("imagegate_client/api/*/*.py"):
            assert not re.findall(r"(?m)^        \w+ \(.*\):$", path.read_text("utf-8")), path


class TestTypeScript:
    def test_there_is_a_method_for_every_operation(self, typescript_client):
        apis = typescript_client.folder.glob("imagegate-client/apis/*Api.ts")
        code = "".join(path.read_text("utf-8") for path in apis)
        for each in operation_ids():
            assert f"async {each}(" in code

    def test_pictures_are_blobs_both_ways(self, typescript_client):
        code = (typescript_client.folder / "imagegate-client/apis/ImagesApi.ts").read_text("utf-8")
        assert re.search(r"async downloadImage\(.*\): Promise<Blob>", code)
        assert re.search(r"interface UploadImageRequest {[^}]*\bfile: Blob;", code)


class TestDocument:
    """docs/clients/ shows the commands and programs that run here."""

    @pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name)
    def test_the_files_are_those_that_ran(self, sdk):
        shown = page(sdk)
        files = (path for path in (generated.PROGRAMS / sdk.name).rglob("*") if path.is_file())
        for path in files:
            if path.stem.lower() == "report" or path.name in NOT_SHOWN:
                continue
            program, *_ = re.split(r"(?m)^\s*(?:#|//) For the tests\.", path.read_text("utf-8"))
            assert f"\n{without_heading(program).strip()}\n```" in shown, path

    @pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name)
    def test_the_commands_are_those_that_ran(self, sdk):
        lines = page(sdk).splitlines()
        for command in (*sdk.generate, *(each for each in sdk.compile if "compileall" not in each)):
            assert command in lines
        assert any(line.startswith(f"{sdk.start} http://localhost:8080") for line in lines)

    def test_the_versions_are_those_that_ran(self):
        shown = page(SDKS[0])
        assert f"openapi-python-client=={metadata.version('openapi-python-client')} " in shown
        listed = (ROOT / "docs/clients.md").read_text("utf-8")
        assert f"openapi-generator-cli:{generated.GENERATOR_VERSION} " in listed
        typescript = (ROOT / "docs/clients/typescript.md").read_text("utf-8")
        packages = json.loads((generated.GENERATORS / "package.json").read_text())
        for name, version in packages["devDependencies"].items():
            assert name == "@types/node" or f"{name}@{version}" in typescript
