"""Clients that generators make of openapi/openapi.json, compiled, against a running gateway."""

import json
import re
from importlib import metadata

import pytest

from tests.support import generated
from tests.support.credentials import bearer, owner_of


def operation_ids():
    paths = json.loads(generated.DOCUMENT.read_text("utf-8"))["paths"]
    return [operation["operationId"] for item in paths.values() for operation in item.values()]


class TestCalls:
    """The same five calls by every client: see upload.py and upload.mts."""

    def test_an_upload_returns_the_image_as_the_gateway_describes_it(self, result, gateway):
        uploaded = result["uploaded"]
        with gateway.client(headers=bearer(gateway.key)) as http:
            described = http.get(f"{uploaded['url']}/metadata").json()
        for each in (uploaded, described):
            # Each client writes fractions of a second in its own way.
            each["created_at"] = each["created_at"][:19]
        assert uploaded == described
        assert uploaded["filename"] == "img.jpg"
        assert uploaded["owner"] == owner_of(gateway.key)
        assert uploaded["visibility"] == "owner"

    def test_a_download_is_the_bytes_that_the_gateway_serves(self, client, result, gateway):
        with gateway.client(headers=bearer(gateway.key)) as http:
            served = http.get(result["uploaded"]["url"])
        assert (client.folder / "out.jpg").read_bytes() == served.content
        assert len(served.content) == result["uploaded"]["content_length"]

    def test_a_list_has_the_image(self, result):
        assert result["uploaded"]["id"] in result["listed"]

    def test_an_upload_that_is_sent_again_under_its_key_is_stored_once(self, result):
        one, other = result["again"]
        assert one == other

    def test_a_refused_upload_is_a_problem_with_status_and_code(self, result):
        problem = result["problem"]
        assert (problem["status"], problem["code"]) == (422, "invalid-image")
        assert problem["retryable"] is False

    def test_a_batch_has_a_result_for_each_image(self, result):
        stored, refused = result["batch"]
        assert (stored["status"], refused["status"]) == (201, 422)
        assert result["stored"] == [stored["image"]["id"]]
        assert refused["problem"]["code"] == "invalid-image"


class TestPython:
    def test_the_types_of_the_client_and_of_its_user_agree(self, python_client):
        assert "Success: no issues found" in generated.check_types(python_client)

    def test_there_is_a_function_for_every_operation(self, python_client):
        names = {path.stem for path in python_client.folder.glob("imagegate_client/api/*/*.py")}
        for each in operation_ids():
            assert re.sub("([A-Z])", r"_\1", each).lower() in names

    def test_the_generator_leaves_out_only_what_no_client_needs(self, python_client):
        said = python_client.said["generate"]
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
    """docs/clients.md shows the scripts that run here."""

    PAGE = (generated.ROOT / "docs/clients.md").read_text("utf-8")

    @pytest.mark.parametrize("name", ["upload.py", "upload.mts"])
    def test_the_programs_are_those_that_ran(self, name):
        program = (generated.HERE / name).read_text("utf-8")
        shown, _ = re.split(r"(?:#|//) For the tests\.", program[program.index("\nimport ") :])
        shown = shown.replace("import json\n", "").strip()
        assert f"\n{shown}\n```" in self.PAGE

    def test_the_commands_are_those_that_ran(self):
        version = generated.generator_version()
        lines = self.PAGE.splitlines()
        assert generated.PYTHON_GENERATE in lines
        assert generated.TYPESCRIPT_GENERATE.format(version=version) in lines
        assert f"npx {generated.TYPESCRIPT_COMPILE}" in lines
        assert f"openapi-generator-cli:{version} " in self.PAGE

    def test_the_versions_are_those_that_ran(self):
        assert f"openapi-python-client=={metadata.version('openapi-python-client')} " in self.PAGE
        packages = json.loads((generated.NODE_MODULES.parent / "package.json").read_text())
        assert f"typescript@{packages['devDependencies']['typescript']} " in self.PAGE
