"""Memory that uploads needed is given back once they are stored."""

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat

import pytest

from tests.support import images
from tests.support.gateway_process import new_gateway, until

__all__ = ["new_gateway"]

# The gateway kept 132 MB, and 45 MB once no circle of references held images any more.
KEPT_BYTES = 25_000_000


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc: nothing to give back"
)
def test_memory_that_uploads_needed_is_given_back_within_seconds(new_gateway):
    gateway = new_gateway(program=[sys.executable, "-m", "app"], IMAGEGATE_IMAGING__WORKERS=2)
    sizes = chain(range(100, 1900, 90), repeat(1300, 10))
    pictures = [images.png(images.photo((side, side), noise=120)) for side in sizes]

    def upload(picture):
        with gateway.client() as client:
            answer = client.post("/images", content=picture, params={"profile": "original"})
        assert answer.status_code == 201, answer.text

    with ThreadPoolExecutor(8) as uploads:
        # What is loaded at the first use stays.
        list(uploads.map(upload, pictures[:8]))
        before = gateway.resident_bytes()
        list(uploads.map(upload, pictures * 3))
    until(lambda: gateway.resident_bytes() < before + KEPT_BYTES)
