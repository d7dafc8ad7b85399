"""The profile small: good on a phone."""

import io

import pytest
from PIL import Image, ImageDraw

from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import blocks, images
from tests.support.developing import LIMITS, develop

LARGE = (320, 240)


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
        ("mode", "content_type"),
        [("RGB", "image/jpeg"), ("RGBA", "image/webp"), ("P", "image/png")],
    )
    def test_a_photo_in_a_png_becomes_one_and_a_graphic_stays(self, mode, content_type):
        data = images.png(images.photo(LARGE, mode))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert stored.info.content_type == content_type
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
        block = b"Exif\0\0" + blocks.camera_exif(6)
        images.photo(LARGE, noise=8).save(output, "JPEG", quality=95, exif=block)
        stored = develop(output.getvalue(), LIMITS, Profile.SMALL, metadata=metadata, avif=True)
        assert stored.info.content_type == "image/avif"
        with Image.open(io.BytesIO(stored.data)) as image:
            told = image.getexif()
        assert told[0x8298] == blocks.NOTICE
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
