"""What each profile makes of each format, and what it never does."""

import functools
import hashlib
import io
import struct

import pytest
from PIL import Image, ImageCms, ImageDraw, ImageStat

from app.errors import ImageLimitError, InvalidImageError, UnsupportedFormatError
from app.imaging import formats
from app.imaging.codecs import jpegli, optimize
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop, served

LIMITS = ImageLimits()
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


# What cannot be freed of metadata without encoding it again is refused: see TestOriginal.
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


def profile_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.info.get("icc_profile")


@pytest.mark.parametrize(("name", "profile"), PAIRS)
class TestEveryFormatUnderEveryProfile:
    @pytest.fixture
    def developed(self, name, profile):
        return photo(name), developed_as(name, profile)

    def test_no_metadata_is_stored(self, developed):
        _, stored = developed
        assert not any(secret in served(stored) for secret in images.SECRETS)

    def test_it_looks_the_same(self, developed, profile):
        data, stored = developed
        before, after = images.pixels(data), images.pixels(served(stored))
        assert (stored.info.width, stored.info.height) == after.size == before.size
        if profile in {Profile.ORIGINAL, Profile.ARCHIVE, Profile.LOSSLESS}:
            assert images.same_pixels(before.convert("RGB"), after.convert("RGB"))
        else:
            assert images.distance(before.convert("RGB"), after.convert("RGB")) < 10

    def test_the_receipt_says_what_it_is(self, developed, profile):
        _, stored = developed
        file = served(stored)
        assert stored.info.content_length == len(file)
        assert stored.info.digest == hashlib.sha256(file).hexdigest()
        with Image.open(io.BytesIO(file)) as image:
            seen = "HEIC" if image.format == "HEIF" else image.format
        assert stored.info.content_type == f"image/{seen.lower()}"
        assert stored.info.profile == profile.value
        assert stored.info.kept == (stored.info.codec in {"original", "lepton"})
        assert stored.info.frame_count == 1

    def test_it_is_never_larger(self, developed, name, profile):
        data, stored = developed
        # HEIC, which few clients show, may grow.
        assert len(stored.data) <= len(data) or (
            name == "HEIC" and stored.info.content_type == "image/jpeg"
        )


class TestOriginal:
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.ARCHIVE])
    @pytest.mark.parametrize("name", ["TIFF", "BMP"])
    def test_what_cannot_be_freed_of_metadata_is_refused_with_advice(self, name, profile):
        with pytest.raises(InvalidImageError, match="use the profile lossless"):
            develop(photo(name), LIMITS, profile)

    @pytest.mark.parametrize("make", [images.avif, images.heic], ids=["AVIF", "HEIC"])
    def test_metadata_is_overwritten_where_it_lies(self, make):
        data = make(images.photo(LARGE))
        assert any(secret in data for secret in images.SECRETS)
        stored = develop(data + images.ARCHIVE, LIMITS, Profile.ORIGINAL).data
        assert len(stored) == len(data)
        assert not any(secret in stored for secret in (*images.SECRETS, b"SECRET-ARCHIVE"))
        assert profile_of(stored) == profile_of(data)

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
        assert profile_of(stored.data) == profile_of(data)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
    def test_every_mode_of_png_keeps_its_pixels(self, mode):
        data = images.png(images.photo(LARGE, mode), compress_level=1)
        stored = develop(data, LIMITS, Profile.LOSSLESS)
        assert stored.info.codec == "oxipng 2"
        assert images.same_pixels(
            images.pixels(data).convert("RGBA"), images.pixels(stored.data).convert("RGBA")
        )
        assert profile_of(stored.data) == profile_of(data)

    def test_deep_colours_stay_deep(self):
        data = images.raw_png((64, 64), 16, 2, 3)
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
        assert profile_of(stored.data) == profile

    def test_without_the_extra_pillow_encodes(self, monkeypatch):
        monkeypatch.setattr(jpegli, "AVAILABLE", False)
        stored = develop(images.jpeg(images.photo(LARGE)), LIMITS)
        assert stored.info.codec == "jpeg q85 progressive"
        assert Image.open(io.BytesIO(stored.data)).info["progressive"]

    @pytest.mark.parametrize("name", ["TIFF", "BMP"])
    def test_graphics_of_scanners_become_png_and_photos_jpeg(self, name):
        make = {"TIFF": images.tiff, "BMP": images.bmp}[name]
        chart = Image.new("RGB", LARGE, "white")
        chart.paste("navy", (10, 10, 300, 200))
        assert develop(make(chart), LIMITS).info.content_type == "image/png"
        assert develop(make(images.photo(LARGE)), LIMITS).info.content_type == "image/jpeg"

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    @pytest.mark.parametrize("make", [images.heic, images.tiff], ids=["HEIC", "TIFF"])
    def test_what_is_encoded_anew_is_upright(self, make, orientation):
        data = make(images.photo(LARGE), orientation=orientation)
        stored = develop(data, LIMITS)
        assert (stored.info.width, stored.info.height) == images.pixels(stored.data).size
        assert images.distance(images.pixels(data), images.pixels(stored.data)) < 10

    def test_cmyk_becomes_rgb_through_its_profile_and_stays_without_one(self):
        kept = develop(images.jpeg(images.photo(LARGE, "CMYK"), icc=False), LIMITS)
        assert images.pixels(kept.data).mode == "CMYK"
        with pytest.raises(InvalidImageError, match="without a colour profile"):
            develop(_saved(images.photo(LARGE, "CMYK"), "TIFF"), LIMITS)


class TestTiff:
    def test_lab_is_what_it_says(self):
        picture = images.photo(LARGE, noise=0)
        to_lab = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        lab = ImageCms.profileToProfile(picture, *to_lab, outputMode="LAB")
        stored = develop(_saved(lab, "TIFF"), LIMITS, Profile.LOSSLESS)
        assert images.distance(images.pixels(stored.data), picture) < 3

    def test_deep_colours_are_refused_where_every_bit_counts(self):
        data = images.deep_tiff(LARGE)
        with pytest.raises(InvalidImageError, match="more than 8 bits"):
            develop(data, LIMITS, Profile.LOSSLESS)
        assert develop(data, LIMITS).info.width == LARGE[0]

    @pytest.mark.parametrize("mode", ["I;16", "I;16B"])
    @pytest.mark.parametrize("profile", [Profile.LOSSLESS, Profile.BALANCED, Profile.SMALL])
    def test_deep_grey_stays_deep(self, profile, mode):
        deep = Image.new(mode, (8, 8), 12_345)
        stored = develop(_saved(deep, "TIFF"), LIMITS, profile)
        assert images.pixels(stored.data).getpixel((3, 3)) == 12_345


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
    """What is encoded anew is seen in the colours of the upload."""

    @pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_cmyk_becomes_rgb_through_its_own_profile(self, format_name, profile):
        inks = images.photo(LARGE, "CMYK", noise=0)
        stored = develop(
            _saved(inks, format_name, icc_profile=images.cmyk_profile()), LIMITS, profile
        )
        picture = images.pixels(stored.data)
        assert (picture.mode, profile_of(stored.data)) == ("RGB", None)
        red, green, blue = ImageStat.Stat(picture).mean
        assert green > red + 50
        assert green > blue + 50

    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.ARCHIVE, Profile.LOSSLESS])
    def test_cmyk_stays_where_every_pixel_has_to(self, profile):
        data = _saved(images.photo(LARGE, "CMYK"), "JPEG", icc_profile=images.cmyk_profile())
        file = served(develop(data, LIMITS, profile))
        assert images.same_pixels(images.pixels(data), images.pixels(file))
        assert profile_of(file) == images.cmyk_profile()

    @pytest.mark.parametrize("profile", list(Profile))
    @pytest.mark.parametrize("name", PHOTOS)
    def test_a_wide_profile_stays_attached(self, name, profile):
        if (name, profile) not in PAIRS or name in {"GIF", "BMP"}:
            return
        before, after = photo(name), served(developed_as(name, profile))
        assert profile_of(after) == profile_of(before) is not None

    @pytest.mark.parametrize("mode", ["L", "LA"])
    def test_grey_becomes_rgb_through_its_own_profile(self, mode):
        ramp = Image.linear_gradient("L").rotate(90).resize((2400, 600))
        grey = Image.merge("LA", (ramp, ramp.point(lambda _: 128))) if mode == "LA" else ramp
        data = _saved(grey, "PNG", icc_profile=images.grey_profile(), compress_level=0)
        stored = develop(data, LIMITS, Profile.SMALL)
        seen = images.pixels(stored.data)
        # Linear light: the middle of the ramp is as bright as 188 in sRGB.
        assert seen.convert("RGBA").getpixel((1024, 200))[0] == pytest.approx(188, abs=4)
        assert profile_of(stored.data) is None

    def test_grey_with_a_profile_becomes_no_webp_where_every_pixel_counts(self):
        data = _saved(images.photo(LARGE, "L"), "PNG", icc_profile=images.grey_profile())
        stored = develop(data, LIMITS, Profile.LOSSLESS, webp=True)
        assert stored.info.content_type == "image/png"
        assert profile_of(stored.data) == images.grey_profile()

    def test_cmyk_without_a_profile_stays_as_large_as_it_is(self):
        data = images.jpeg(images.photo((2400, 600), "CMYK"), icc=False)
        stored = develop(data, LIMITS, Profile.SMALL)
        assert (stored.info.kept, stored.info.width) == (True, 2400)

    def test_a_profile_of_more_than_a_megabyte_is_taken(self):
        data = _saved(
            images.photo(LARGE), "PNG", icc_profile=images.icc_profile() + bytes(2_000_000)
        )
        assert develop(data, LIMITS).info.width == LARGE[0]

    def test_the_profile_of_a_palette_stays_when_it_is_made_smaller(self):
        data = images.png(images.photo((2400, 600), "P"))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert not stored.info.kept
        assert profile_of(stored.data) == profile_of(data) is not None

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
        ("points", "media_type"),
        [((1, 13), "image/jpeg"), ((12, 13), "image/heic"), ((9, 16), "image/heic")],
        ids=["sRGB", "P3", "HDR"],
    )
    def test_a_heic_whose_code_points_a_jpeg_cannot_say_stays_one(self, points, media_type):
        data = images.heic(images.photo(LARGE), icc=False)
        at = data.index(b"nclx") + 4
        data = data[:at] + struct.pack(">HH", *points) + data[at + 4 :]
        for profile in (Profile.BALANCED, Profile.SMALL):
            assert develop(data, LIMITS, profile).info.content_type == media_type


class TestSmall:
    @pytest.mark.parametrize("name", ["JPEG", "PNG", "AVIF", "HEIC", "TIFF", "WebP"])
    def test_the_longest_side_becomes_2048(self, name):
        make = {
            "JPEG": images.jpeg,
            "PNG": images.png,
            "AVIF": images.avif,
            "HEIC": images.heic,
            "TIFF": images.tiff,
            "WebP": images.webp,
        }[name]
        stored = develop(make(images.photo((2400, 600), noise=8)), LIMITS, Profile.SMALL)
        assert (stored.info.width, stored.info.height) == (2048, 512)
        assert images.pixels(stored.data).size == (2048, 512)
        assert stored.info.content_type == (
            "image/webp" if name in {"AVIF", "WebP"} else "image/jpeg"
        )

    @pytest.mark.parametrize(
        ("mode", "media_type"), [("RGB", "image/jpeg"), ("RGBA", "image/webp"), ("P", "image/png")]
    )
    def test_a_photo_in_a_png_becomes_one_and_a_graphic_stays(self, mode, media_type):
        data = images.png(images.photo(LARGE, mode))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert stored.info.content_type == media_type
        assert (stored.info.width, stored.info.height) == LARGE

    def test_text_on_many_colours_stays_legible(self):
        page = images.photo((1200, 800), noise=0)
        draw = ImageDraw.Draw(page)
        for y in range(0, 800, 14):
            draw.text((5, y), "the quick brown fox jumps over " * 9, fill=(y % 200, 0, 90))
        stored = develop(images.png(page), LIMITS, Profile.SMALL)
        assert stored.info.content_type == "image/png"

    def test_a_chart_stays_a_png_when_it_is_made_smaller(self):
        chart = Image.new("RGB", (3000, 2000), "white")
        chart.paste("navy", (100, 100, 2000, 1200))
        stored = develop(images.png(chart, compress_level=0), LIMITS, Profile.SMALL)
        assert (stored.info.content_type, stored.info.width) == ("image/png", 2048)
        assert images.pixels(stored.data).convert("RGB").getpixel((1000, 600)) == (0, 0, 128)

    @pytest.mark.parametrize("metadata", list(MetadataOption))
    def test_an_avif_says_what_stays_of_metadata(self, metadata):
        output = io.BytesIO()
        block = b"Exif\0\0" + images.camera_exif(6)
        images.photo(LARGE, noise=8).save(output, "JPEG", quality=95, exif=block)
        stored = develop(output.getvalue(), LIMITS, Profile.SMALL, metadata=metadata, avif=True)
        assert stored.info.content_type == "image/avif"
        with Image.open(io.BytesIO(stored.data)) as image:
            told = image.getexif()
        assert told[0x8298] == images.NOTICE
        assert (0x010F in told) == (metadata is not MetadataOption.STRIP)
        assert bool(told.get_ifd(0x8825)) == (metadata is MetadataOption.KEEP)
        assert images.pixels(stored.data).size == (240, 320)

    @pytest.mark.parametrize(
        "block", [b"MM\0.\0\0\0\x08", b"\xffM\0*\0\0", b"II*\0\x08\0\0\0\xff\xff"]
    )
    def test_damaged_exif_hinders_no_avif(self, block):
        data = images.jpeg(images.photo(LARGE, noise=8), private=False)
        data = data[:2] + images.segment(0xE1, b"Exif\0\0" + block) + data[2:]
        keep = MetadataOption.KEEP
        stored = develop(data, LIMITS, Profile.SMALL, metadata=keep, avif=True)
        assert stored.info.content_type == "image/avif"

    def test_transparency_is_kept(self):
        data = images.png(images.photo((2400, 600), "RGBA", noise=8))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert stored.info.content_type == "image/webp"
        assert images.pixels(stored.data).mode == "RGBA"

    def test_an_animation_is_kept_as_it_is(self):
        data = images.animated("GIF", size=(64, 48))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert (stored.info.frame_count, stored.info.kept) == (4, True)


class TestLimits:
    @pytest.mark.parametrize("make", [images.avif, images.heic, images.tiff, images.bmp])
    def test_what_only_the_decoder_can_measure_is_refused_before_it_is_decoded(self, make):
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
        data = _saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
        with pytest.raises(InvalidImageError, match="has 3 pages"):
            develop(data, LIMITS)

    def test_an_animated_avif_is_kept_with_its_frames(self):
        frames = images.frames()
        data = _saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], xmp=images.XMP)
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


def _saved(image, format_name, **options):
    output = io.BytesIO()
    image.save(output, format_name, **options)
    return output.getvalue()
