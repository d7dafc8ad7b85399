"""Each format under each profile."""

import functools
import hashlib
import io

import pytest
from PIL import Image, ImageCms

from app.errors import ImageLimitError, InvalidImageError, UnsupportedFormatError
from app.imaging import formats
from app.imaging.codecs import jpegli, optimize
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import images, odd_images
from tests.support.developing import LIMITS, develop, served
from tests.support.every_case import every_case

LARGE = (320, 240)
PHOTOS = {
    "JPEG": lambda: images.jpeg(images.photo(LARGE)),
    "PNG": lambda: images.png(images.photo(LARGE)),
    "WebP": lambda: images.webp(images.photo(LARGE)),
    "GIF": lambda: images.gif(images.photo(LARGE)),
    "AVIF": lambda: images.avif(images.photo(LARGE)),
    "HEIC": lambda: images.heic(images.photo(LARGE)),
    "TIFF": lambda: images.tiff(images.photo(LARGE)),
    "BMP": lambda: images.bmp(images.photo(LARGE)),
}


# Files whose metadata cannot be removed without encoding them again are refused: see TestOriginal.
PAIRS = [
    (name, profile)
    for name in PHOTOS
    for profile in Profile
    if profile not in {Profile.ORIGINAL, Profile.ARCHIVE} or name not in {"TIFF", "BMP"}
]


@functools.cache
def photo(name):
    return PHOTOS[name]()


@functools.cache
def developed_as(name, profile):
    return develop(photo(name), LIMITS, profile)


def check_each(check):
    """Call a check with each format's name, its upload, each profile, and the stored image."""
    with every_case() as case:
        for name, profile in PAIRS:
            with case(f"{name} as {profile}"):
                check(name, photo(name), profile, developed_as(name, profile))


class TestEveryFormatUnderEveryProfile:
    def test_no_metadata_is_stored(self):
        def check(name, data, profile, stored):
            assert not any(secret in served(stored) for secret in images.SECRETS)

        check_each(check)

    def test_it_looks_the_same(self):
        def check(name, data, profile, stored):
            before, after = images.pixels(data), images.pixels(served(stored))
            assert (stored.info.width, stored.info.height) == after.size == before.size
            if profile in {Profile.ORIGINAL, Profile.ARCHIVE, Profile.LOSSLESS}:
                assert images.same_pixels(before.convert("RGB"), after.convert("RGB"))
            else:
                assert images.distance(before.convert("RGB"), after.convert("RGB")) < 10

        check_each(check)

    def test_its_facts_are_true(self):
        def check(name, data, profile, stored):
            file = served(stored)
            assert stored.info.content_length == len(file)
            assert stored.info.digest == hashlib.sha256(file).hexdigest()
            with Image.open(io.BytesIO(file)) as image:
                seen = "HEIC" if image.format == "HEIF" else image.format
            assert stored.info.content_type == f"image/{seen.lower()}"
            assert stored.info.profile == profile.value
            assert stored.info.kept == (stored.info.codec in {"original", "lepton"})
            assert stored.info.frame_count == 1

        check_each(check)

    def test_it_is_never_larger(self):
        def check(name, data, profile, stored):
            # HEIC, which few clients show, may grow.
            assert len(stored.data) <= len(data) or (
                name == "HEIC" and stored.info.content_type == "image/jpeg"
            )

        check_each(check)

    def test_a_wide_profile_stays_attached(self):
        def check(name, data, profile, stored):
            if name not in {"GIF", "BMP"}:
                after = images.profile_of(served(stored))
                assert after == images.profile_of(data) is not None

        check_each(check)


class TestOriginal:
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.ARCHIVE])
    @pytest.mark.parametrize("name", ["TIFF", "BMP"])
    def test_a_format_that_cannot_be_freed_of_metadata_is_refused_with_advice(self, name, profile):
        with pytest.raises(InvalidImageError, match="use the profile lossless"):
            develop(photo(name), LIMITS, profile)

    @pytest.mark.parametrize("make", [images.avif, images.heic], ids=["AVIF", "HEIC"])
    def test_metadata_is_overwritten_in_place(self, make):
        data = make(images.photo(LARGE))
        assert any(secret in data for secret in images.SECRETS)
        stored = develop(data + images.ARCHIVE, LIMITS, Profile.ORIGINAL).data
        assert len(stored) == len(data)
        assert not any(secret in stored for secret in (*images.SECRETS, b"SECRET-ARCHIVE"))
        assert images.profile_of(stored) == images.profile_of(data)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_orientation_of_an_avif_is_a_property_and_stays(self, orientation):
        data = images.avif(images.photo(LARGE), orientation=orientation)
        stored = develop(data, LIMITS, Profile.ORIGINAL)
        assert images.same_pixels(images.pixels(data), images.pixels(stored.data))
        assert (stored.info.width, stored.info.height) == images.pixels(stored.data).size


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "GIF", "AVIF", "HEIC"])
def test_metadata_is_kept_on_request_and_what_follows_the_picture_is_not(name):
    data = photo(name)
    stored = develop(data + images.ARCHIVE, LIMITS, Profile.ORIGINAL, metadata=MetadataOption.KEEP)
    assert stored.data == data
    assert stored.info.kept


class TestLossless:
    @pytest.mark.parametrize("orientation", [1, 6])
    def test_the_coefficients_of_a_jpeg_are_packed_better(self, orientation):
        data = images.jpeg(images.photo(LARGE), orientation=orientation)
        stored = develop(data, LIMITS, Profile.LOSSLESS)
        assert stored.info.codec == "mozjpeg lossless"
        assert images.same_pixels(images.pixels(data), images.pixels(stored.data))
        assert images.profile_of(stored.data) == images.profile_of(data)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
    def test_every_mode_of_png_keeps_its_pixels(self, mode):
        data = images.png(images.photo(LARGE, mode), compress_level=1)
        stored = develop(data, LIMITS, Profile.LOSSLESS)
        assert stored.info.codec == "oxipng 2"
        assert images.same_pixels(
            images.pixels(data).convert("RGBA"), images.pixels(stored.data).convert("RGBA")
        )
        assert images.profile_of(stored.data) == images.profile_of(data)

    def test_deep_colours_stay_deep(self):
        data = odd_images.raw_png((64, 64), 16, 2, 3)
        stored = develop(data, LIMITS, Profile.LOSSLESS).data
        assert stored[24:26] == data[24:26]


class TestBalanced:
    def test_jpegli_keeps_the_colour_profile_even_a_large_one(self):
        profile = images.icc_profile() + bytes(150_000)
        data = images.jpeg(images.photo(LARGE), icc=False)
        with Image.open(io.BytesIO(data)) as image:
            output = io.BytesIO()
            image.save(output, "JPEG", quality=95, icc_profile=profile)
        stored = develop(output.getvalue(), LIMITS)
        assert stored.info.codec == "jpegli q85"
        assert images.profile_of(stored.data) == profile

    def test_without_the_extra_pillow_encodes(self, monkeypatch):
        monkeypatch.setattr(jpegli, "AVAILABLE", False)
        stored = develop(images.jpeg(images.photo(LARGE)), LIMITS)
        assert stored.info.codec == "jpeg q85"

    @pytest.mark.parametrize("name", ["TIFF", "BMP"])
    def test_graphics_of_scanners_become_png_and_photos_jpeg(self, name):
        make = {"TIFF": images.tiff, "BMP": images.bmp}[name]
        chart = Image.new("RGB", LARGE, "white")
        chart.paste("navy", (10, 10, 300, 200))
        assert develop(make(chart), LIMITS).info.content_type == "image/png"
        assert develop(make(images.photo(LARGE)), LIMITS).info.content_type == "image/jpeg"

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    @pytest.mark.parametrize("make", [images.heic, images.tiff], ids=["HEIC", "TIFF"])
    def test_a_new_encoding_is_upright(self, make, orientation):
        data = make(images.photo(LARGE), orientation=orientation)
        stored = develop(data, LIMITS)
        assert (stored.info.width, stored.info.height) == images.pixels(stored.data).size
        assert images.distance(images.pixels(data), images.pixels(stored.data)) < 10

    def test_cmyk_becomes_rgb_through_its_profile_and_stays_without_one(self):
        kept = develop(images.jpeg(images.photo(LARGE, "CMYK"), icc=False), LIMITS)
        assert images.pixels(kept.data).mode == "CMYK"
        with pytest.raises(InvalidImageError, match="without a colour profile"):
            develop(images.saved(images.photo(LARGE, "CMYK"), "TIFF"), LIMITS)


class TestTiff:
    def test_lab_is_what_it_says(self):
        picture = images.photo(LARGE, noise=0)
        to_lab = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        lab = ImageCms.profileToProfile(picture, *to_lab, outputMode="LAB")
        stored = develop(images.saved(lab, "TIFF"), LIMITS, Profile.LOSSLESS)
        assert images.distance(images.pixels(stored.data), picture) < 3

    def test_deep_colours_are_refused_where_every_bit_counts(self):
        data = odd_images.deep_tiff(LARGE)
        with pytest.raises(InvalidImageError, match="more than 8 bits"):
            develop(data, LIMITS, Profile.LOSSLESS)
        assert develop(data, LIMITS).info.width == LARGE[0]

    @pytest.mark.parametrize("mode", ["I;16", "I;16B"])
    @pytest.mark.parametrize("profile", [Profile.LOSSLESS, Profile.BALANCED, Profile.SMALL])
    def test_deep_grey_stays_deep(self, profile, mode):
        deep = Image.new(mode, (8, 8), 12_345)
        stored = develop(images.saved(deep, "TIFF"), LIMITS, profile)
        assert images.pixels(stored.data).getpixel((3, 3)) == 12_345


class TestLimits:
    @pytest.mark.parametrize("make", [images.avif, images.heic, images.tiff, images.bmp])
    def test_an_image_that_only_the_decoder_can_measure_is_refused_undecoded(self, make):
        with pytest.raises(ImageLimitError, match="pixels"):
            develop(make(images.photo((64, 48))), ImageLimits(max_pixels=64 * 48 - 1))

    @pytest.mark.parametrize("name", ["AVIF", "HEIC", "TIFF", "BMP"])
    def test_a_truncated_file_is_refused(self, name):
        data = photo(name)
        for length in (20, 60, len(data) // 4, len(data) // 2, len(data) * 9 // 10):
            with pytest.raises((InvalidImageError, UnsupportedFormatError)):
                develop(data[:length], LIMITS)

    def test_a_tiff_of_several_pages_is_refused_by_their_number(self):
        pages = [images.photo((64, 48), seed=seed) for seed in range(3)]
        data = images.saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
        with pytest.raises(InvalidImageError, match="has 3 pages"):
            develop(data, LIMITS)

    def test_an_animated_avif_is_kept_with_its_frames(self):
        frames = images.frames()
        data = images.saved(
            frames[0], "AVIF", save_all=True, append_images=frames[1:], xmp=images.XMP
        )
        stored = develop(data, LIMITS)
        assert (stored.info.frame_count, stored.info.kept) == (4, True)
        assert b"SECRET" not in stored.data


def test_without_the_extra_heic_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(formats, "LACKING", {formats.ImageFormat.HEIC})
    with pytest.raises(UnsupportedFormatError, match="HEIC, whose decoder is not installed"):
        develop(images.heic(), LIMITS)


def test_without_the_extras_lossless_keeps_the_upload(monkeypatch):
    monkeypatch.setattr(optimize, "mozjpeg", None)
    monkeypatch.setattr(optimize, "oxipng", None)
    for data in (images.jpeg(), images.png()):
        assert develop(data, LIMITS, Profile.LOSSLESS).info.kept
