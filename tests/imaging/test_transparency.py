"""A PNG is as transparent as libpng says, by which browsers show it."""

import pytest

from app.errors import InvalidImageError
from app.imaging.colours import in_rgb
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from app.imaging.variants import still
from tests.support import images
from tests.support.developing import LIMITS, develop, examine
from tests.support.transparent import (
    GREY,
    KEYED,
    PALETTE,
    PLTE,
    TRUECOLOUR,
    UNHEEDED,
    halves,
)

PROFILES = [Profile.BALANCED, Profile.LOSSLESS, Profile.SMALL]


def alphas(data):
    """The alpha of the left and right half."""
    # Pillow alone does not scale a colour key: `test_differential` asks libvips.
    picture, _ = in_rgb(examine(data).image)
    picture = picture.convert("RGBA")
    width, height = picture.size
    return tuple(picture.getpixel((x, height // 2))[3] for x in (width // 4, width * 3 // 4))


class TestColourKey:
    @pytest.mark.parametrize("name", KEYED)
    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("metadata", list(MetadataOption))
    def test_it_stays_transparent(self, name, profile, metadata):
        *colours, key = KEYED[name]
        data = halves(*colours, [(b"tRNS", key)])
        stored = develop(data, profile=profile, metadata=metadata)
        assert alphas(stored.data) == (0, 255)

    @pytest.mark.parametrize("name", KEYED)
    def test_it_stays_transparent_when_it_is_made_smaller(self, name):
        *colours, key = KEYED[name]
        data = halves(*colours, [(b"tRNS", key)], size=(2400, 64))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert stored.info.width == 2048
        assert alphas(stored.data) == (0, 255)

    @pytest.mark.parametrize("name", KEYED)
    def test_a_still_shows_white_behind_it(self, name):
        *colours, key = KEYED[name]
        seen = images.pixels(still(halves(*colours, [(b"tRNS", key)]), LIMITS, 64)).convert("L")
        assert seen.getpixel((16, 16)) > 250
        assert name.startswith("1 bit") or seen.getpixel((48, 16)) < 140


class TestUnheededTransparency:
    @pytest.mark.parametrize("name", UNHEEDED)
    @pytest.mark.parametrize("profile", [*PROFILES, Profile.ORIGINAL])
    def test_what_browsers_pass_over_hides_nothing(self, name, profile):
        data = halves((0,), (1,), 8, PALETTE, UNHEEDED[name])
        assert alphas(develop(data, profile=profile).data) == (255, 255)

    @pytest.mark.parametrize(
        ("colour_type", "key"), [(GREY, b"\0"), (GREY, b"\0\1\0\1"), (TRUECOLOUR, b"\0\1")]
    )
    def test_a_key_of_another_length_hides_nothing(self, colour_type, key):
        colour = (1,) * (3 if colour_type == TRUECOLOUR else 1)
        data = halves(colour, colour, 8, colour_type, [(b"tRNS", key)])
        assert alphas(develop(data).data) == (255, 255)

    def test_the_first_of_two_counts(self):
        chunks = [PLTE, (b"tRNS", b"\xff\0"), (b"tRNS", b"\0")]
        assert alphas(develop(halves((0,), (1,), 8, PALETTE, chunks)).data) == (255, 0)

    def test_a_colour_profile_after_the_palette_is_passed_over_as_by_browsers(self):
        data = halves((0,), (1,), 8, PALETTE, [PLTE, (b"gAMA", (100_000).to_bytes(4))])
        assert b"gAMA" not in develop(data, profile=Profile.ORIGINAL).data

    @pytest.mark.parametrize("chunks", [[PLTE, PLTE], []], ids=["two", "none"])
    def test_anything_but_one_palette_is_refused(self, chunks):
        with pytest.raises(InvalidImageError, match="palette"):
            develop(halves((0,), (1,), 8, PALETTE, chunks))
