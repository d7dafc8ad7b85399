"""Batches to a real process: their memory is that of the images in work."""

import pytest

from tests.support import forms, images
from tests.support.pressure import process_bytes

IMAGES, IMAGE_BYTES = 40, 2_000_000
BUDGET_BYTES = 20_000_000


@pytest.fixture
def gateway(new_gateway):
    return new_gateway(
        IMAGEGATE_UPLOAD__BUDGET_BYTES=BUDGET_BYTES,
        IMAGEGATE_UPLOAD__MAX_BYTES=BUDGET_BYTES // 8,
    )


def peak_bytes(gateway):
    return process_bytes(gateway.process.pid, "status", "VmHWM")


def test_images_of_a_batch_that_are_refused_hold_no_memory_until_its_end(gateway):
    broken = images.png()[:100] + bytes(IMAGE_BYTES)
    body = forms.form(*[forms.file(broken)] * IMAGES)
    with gateway.client() as client:
        before = peak_bytes(gateway)
        answer = client.post("/images/batch", content=body, headers=forms.HEADERS)
        assert {each["status"] for each in answer.json()["results"]} == {422}
        assert len(answer.json()["results"]) == IMAGES
        assert peak_bytes(gateway) - before < 2 * BUDGET_BYTES
