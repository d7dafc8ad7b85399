"""Two hundred uploads of 20 MB at once: each is answered, none is stored by halves."""

import hashlib
import sys

import pytest

from tests.support.gateway_process import GatewayProcess, log_settings
from tests.support.pressure import UPLOAD_BYTES, WAYS, Together, large_images, upload_at_once

__all__ = ["log_settings"]

UPLOADS = 200
# With the default settings, all processes together; see docs/uploading.md, "Under pressure".
MOST_BYTES = 1024**3


@pytest.fixture(scope="module")
def pictures():
    found = large_images()
    assert all(UPLOAD_BYTES * 0.95 < len(each) <= UPLOAD_BYTES for each in found)
    return found


@pytest.fixture
def gateway(tmp_path, log_settings):
    """One with default settings, in a process that shares no memory with the tests."""
    with GatewayProcess(
        tmp_path / "data", program=[sys.executable, "-m", "app"], **log_settings
    ) as process:
        yield process.start()


@pytest.mark.parametrize("way", WAYS)
async def test_two_hundred_at_once_are_answered_within_the_memory(gateway, pictures, way):
    async with Together(gateway) as together:
        answers = await upload_at_once(gateway.address, way, pictures, UPLOADS)
    assert answers.statuses.total() == UPLOADS
    assert set(answers.statuses) <= {"201", "503", "429"}
    assert answers.statuses["201"] > 0
    assert together.peak_bytes <= MOST_BYTES
    assert gateway.mistakes() == []
    with gateway.client() as client:
        there = client.get("/images?limit=1000").json()["images"]
        assert {each["id"] for each in there} == {each["id"] for each in answers.images}
        for image in answers.images:
            data = client.get(image["url"]).content
            assert image["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
