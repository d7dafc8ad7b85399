"""The linter of openapi/asyncapi.yaml, which `make lint-openapi` runs."""

import shutil
import subprocess

import pytest

from tests.support.asyncapi import FILE, OPENAPI


@pytest.mark.parametrize(
    ("right", "wrong", "status", "said"),
    [
        ("partitions: 12", "partitions: 12", 0, "valid"),
        ("partitions: 12", "partitions: twelve", 1, '"partitions" property type must be integer'),
        ("$ref: events/image.stored.json#", "$ref: events/image.lost.json#", 1, "no such file"),
    ],
)
def test_the_document_is_valid_and_a_mistake_in_it_is_found(
    node_modules, tmp_path, right, wrong, status, said
):
    copied = shutil.copytree(OPENAPI, tmp_path / "openapi") / FILE.name
    copied.write_text(copied.read_text("utf-8").replace(right, wrong, 1), "utf-8")
    command = ["node", node_modules.parent / "asyncapi.mjs", copied]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, said in result.stdout + result.stderr) == (status, True)
