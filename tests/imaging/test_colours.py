"""Colours and transparency of the upload are seen in the stored image."""

import struct

import pytest
from PIL import Image, ImageStat

from app.imaging.profiles import Profile
from app.imaging.variants import still
from tests.support import images, profiles
from tests.support.developing import LIMITS, develop, served

LARGE = (320, 240)


class TestTransparency:
    MAKERS = (images.heic, images.tiff)

    @pytest.mark.parametrize("make", MAKERS, ids=["HEIC", "TIFF"])
    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_a_transparent_photo_becomes_webp(self, make, profile):
        data = make(images.photo(LARGE, "RGBA"))
        stored = develop(data, LIMITS, profile)
        assert stored.info.content_type == "image/webp"
        before, after = images.pixels(data), images.pixels(stored.data)
        assert after.mode == "RGBA"
        alphas = [picture.getchannel("A").convert("RGB") for picture in (before, after)]
        assert images.distance(*alphas) < 2

    @pytest.mark.parametrize("make", [*MAKERS, images.bmp], ids=["HEIC", "TIFF", "BMP"])
    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_an_alpha_channel_that_hides_nothing_is_left_out(self, make, profile):
        opaque = images.photo(LARGE)
        opaque.putalpha(255)
        assert develop(make(opaque), LIMITS, profile).info.content_type == "image/jpeg"


class TestColours:
    """A new encoding has the colours of the upload."""

    @pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_cmyk_becomes_rgb_through_its_own_profile(self, format_name, profile):
        inks = images.photo(LARGE, "CMYK", noise=0)
        stored = develop(
            images.saved(inks, format_name, icc_profile=profiles.cmyk_profile()), LIMITS, profile
        )
        picture = images.pixels(stored.data)
        assert (picture.mode, images.profile_of(stored.data)) == ("RGB", None)
        red, green, blue = ImageStat.Stat(picture).mean
        assert green > red + 50
        assert green > blue + 50

    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.ARCHIVE, Profile.LOSSLESS])
    def test_cmyk_stays_where_every_pixel_has_to(self, profile):
        data = images.saved(
            images.photo(LARGE, "CMYK"), "JPEG", icc_profile=profiles.cmyk_profile()
        )
        file = served(develop(data, LIMITS, profile))
        assert images.same_pixels(images.pixels(data), images.pixels(file))
        assert images.profile_of(file) == profiles.cmyk_profile()

    @pytest.mark.parametrize("mode", ["L", "LA"])
    def test_grey_becomes_rgb_through_its_own_profile(self, mode):
        ramp = Image.linear_gradient("L").rotate(90).resize((2400, 600))
        grey = Image.merge("LA", (ramp, ramp.point(lambda _: 128))) if mode == "LA" else ramp
        data = images.saved(grey, "PNG", icc_profile=profiles.grey_profile(), compress_level=0)
        stored = develop(data, LIMITS, Profile.SMALL)
        seen = images.pixels(stored.data)
        # Linear light: the middle of the ramp is as bright as 188 in sRGB.
        assert seen.convert("RGBA").getpixel((1024, 200))[0] == pytest.approx(188, abs=4)
        assert images.profile_of(stored.data) is None

    def test_grey_with_a_profile_becomes_no_webp_where_every_pixel_counts(self):
        data = images.saved(images.photo(LARGE, "L"), "PNG", icc_profile=profiles.grey_profile())
        stored = develop(data, LIMITS, Profile.LOSSLESS, webp=True)
        assert stored.info.content_type == "image/png"
        assert images.profile_of(stored.data) == profiles.grey_profile()

    def test_cmyk_without_a_profile_stays_as_large_as_it_is(self):
        data = images.jpeg(images.photo((2400, 600), "CMYK"), icc=False)
        stored = develop(data, LIMITS, Profile.SMALL)
        assert (stored.info.kept, stored.info.width) == (True, 2400)

    def test_a_profile_of_more_than_a_megabyte_is_allowed(self):
        data = images.saved(
            images.photo(LARGE), "PNG", icc_profile=images.icc_profile() + bytes(2_000_000)
        )
        assert develop(data, LIMITS).info.width == LARGE[0]

    def test_the_profile_of_a_palette_stays_when_it_is_made_smaller(self):
        data = images.png(images.photo((2400, 600), "P"))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert not stored.info.kept
        assert images.profile_of(stored.data) == images.profile_of(data) is not None

    def test_deep_grey_keeps_its_shades_when_it_is_made_smaller(self):
        ramp = Image.linear_gradient("L").rotate(90).resize((2400, 600)).convert("I")
        deep = ramp.point(lambda value: value * 257).convert("I;16")
        stored = develop(images.png(deep, icc=False, compress_level=0), LIMITS, Profile.SMALL)
        assert stored.info.content_type == "image/jpeg"
        shown = images.pixels(stored.data).convert("L")
        assert [shown.getpixel((x, 200)) for x in (20, 1024, 2027)] == pytest.approx(
            [2, 127, 252], abs=4
        )

    @pytest.mark.parametrize(
        "chunks",
        [
            [(b"gAMA", (100_000).to_bytes(4))],
            [(b"cICP", b"\x09\x10\0\1")],
            [(b"cHRM", b"".join(n.to_bytes(4) for n in range(1, 9)))],
        ],
        ids=["linear gamma", "HDR", "other primaries"],
    )
    def test_colours_that_only_chunks_tell_of_are_kept(self, chunks):
        data = images.png(images.photo((2400, 60)), icc=False, private=False, chunks=chunks)
        for profile, webp in ((Profile.SMALL, False), (Profile.LOSSLESS, True)):
            stored = develop(data, LIMITS, profile, webp=webp)
            assert stored.info.content_type == "image/png"
            assert images.chunk(*chunks[0]) in stored.data

    def test_chunks_that_say_srgb_hinder_nothing(self):
        chunks = [(b"gAMA", (45_455).to_bytes(4)), (b"sRGB", b"\0"), (b"cICP", b"\x01\x0d\0\1")]
        data = images.png(images.photo((2400, 60)), icc=False, private=False, chunks=chunks)
        assert develop(data, LIMITS, Profile.SMALL).info.content_type == "image/jpeg"

    @pytest.mark.parametrize(
        ("points", "content_type"),
        [((1, 13), "image/jpeg"), ((12, 13), "image/heic"), ((9, 16), "image/heic")],
        ids=["sRGB", "P3", "HDR"],
    )
    def test_a_heic_whose_code_points_a_jpeg_cannot_say_stays_one(self, points, content_type):
        data = images.heic(images.photo(LARGE), icc=False)
        at = data.index(b"nclx") + 4
        data = data[:at] + struct.pack(">HH", *points) + data[at + 4 :]
        for profile in (Profile.BALANCED, Profile.SMALL):
            assert develop(data, LIMITS, profile).info.content_type == content_type


class TestPlaceOfTheProfile:
    """A profile is found wherever the format has it, not only where Pillow looks."""

    @staticmethod
    def jpeg_with_late_profile():
        data = images.jpeg(images.photo((2400, 600)), icc=False, private=False)
        at = data.index(b"\xff\xda")
        profile = images.icc_profile()
        half = len(profile) // 2
        pieces = [(2, profile[half:]), (1, profile[:half])]
        segments = [
            images.segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 2)) + piece)
            for number, piece in pieces
        ]
        return data[:at] + b"".join(segments) + data[at:]

    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_one_after_the_frame_header_of_a_jpeg_stays(self, profile):
        stored = develop(self.jpeg_with_late_profile(), LIMITS, profile)
        assert stored.info.codec.startswith("jpegli")
        assert images.profile_of(stored.data) == images.icc_profile()

    def test_a_still_has_it(self):
        data = still(self.jpeg_with_late_profile(), LIMITS, 64)
        assert images.profile_of(data) == images.icc_profile()

    def test_that_of_a_gif_stays_when_it_is_made_smaller(self):
        data = images.gif(images.photo((2400, 60)).quantize(32), private=False)
        profile = images.icc_profile()
        pieces = [profile[at : at + 255] for at in range(0, len(profile), 255)]
        packed = b"".join(bytes((len(piece),)) + piece for piece in pieces)
        at = 13 + (3 << (data[10] & 7) + 1)
        data = data[:at] + b"!\xff\x0bICCRGBG1012" + packed + b"\0" + data[at:]
        stored = develop(data, LIMITS, Profile.SMALL)
        assert stored.info.content_type == "image/webp"
        assert images.profile_of(stored.data) == profile
