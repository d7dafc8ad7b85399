"""A JPEG of arithmetic coding becomes one that browsers show, where the profile may change it."""

import pytest

from app.imaging.profiles import Profile
from app.imaging.variants import still
from tests.support import arithmetic, images
from tests.support.developing import LIMITS, develop, served

FILES = {"coarse": arithmetic.COARSE, "fine and progressive": arithmetic.FINE}
HUFFMAN = {0xC0, 0xC1, 0xC2}


def frame(data):
    """The marker of the frame header."""
    at = 2
    while data[at + 1] not in {*HUFFMAN, 0xC9, 0xCA}:
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return data[at + 1]


@pytest.mark.parametrize("name", FILES)
class TestArithmeticCoding:
    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_it_is_encoded_anew(self, name, profile):
        stored = develop(FILES[name], LIMITS, profile)
        assert (stored.info.content_type, stored.info.kept) == ("image/jpeg", False)
        assert frame(stored.data) in HUFFMAN
        before, after = images.pixels(FILES[name]), images.pixels(stored.data)
        assert images.distance(before, after) < 4

    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.ARCHIVE, Profile.LOSSLESS])
    def test_it_stays_where_every_pixel_has_to(self, name, profile):
        stored = develop(FILES[name], LIMITS, profile)
        assert frame(served(stored)) not in HUFFMAN
        assert images.same_pixels(images.pixels(FILES[name]), images.pixels(served(stored)))

    def test_a_still_is_one_that_browsers_show(self, name):
        assert frame(still(FILES[name], LIMITS, 48)) in HUFFMAN


def test_a_coarse_one_keeps_its_quality():
    stored = develop(arithmetic.COARSE, LIMITS, Profile.BALANCED)
    assert stored.info.codec == "jpeg own tables progressive"
