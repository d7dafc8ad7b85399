"""Uploads and what is stored of them, seen by another decoder: libvips with ImageMagick.

For each format and odd kind of it, the colours in sRGB, alpha, size, orientation, frames, delays
and loop count of both are compared, for every profile.
"""

import pytest

from app.imaging.profiles import Profile
from tests.support import every_kind, other_decoder
from tests.support.developing import develop, served
from tests.support.every_case import every_case
from tests.support.other_decoder import OtherDecoder

pytestmark = pytest.mark.skipif(
    not other_decoder.IS_INSTALLED, reason="needs libvips (apt-get install libvips-tools)"
)

# Samples of 16 and of 5 bits are rounded by each decoder in its own way.
EXACT, LOSSY = 1.5, 6

KINDS = dict(every_kind.files())


@pytest.fixture(scope="module")
def decoder():
    with OtherDecoder() as decoder:
        yield decoder


@pytest.mark.parametrize("profile", list(Profile))
def test_another_decoder_sees_the_same(decoder, profile):
    with every_case() as case:
        for name, data in KINDS.items():
            if data[:2] in {b"BM", b"II"} and profile in {Profile.ORIGINAL, Profile.ARCHIVE}:
                continue
            if name == "TIFF in planes" and profile is Profile.LOSSLESS:
                continue  # refused: only 8 of its 16 bits are decoded
            with case(name):
                stored = develop(data, profile=profile)
                is_lossless = profile not in {Profile.BALANCED, Profile.SMALL}
                most = EXACT if is_lossless or stored.info.kept else LOSSY
                both = decoder.see(data), decoder.see(served(stored))
                assert other_decoder.difference(*both, most) == ""
