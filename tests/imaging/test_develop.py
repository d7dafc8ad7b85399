"""The stored image of an upload: its pixels, its size, its shape."""

import io
import itertools

import pytest
from PIL import Image

from app.imaging.limits import ImageLimits
from tests.support import images
from tests.support.developing import develop
from tests.support.every_case import every_case

LIMITS = ImageLimits()
LARGE = (640, 480)


class TestJpeg:
    def test_a_photo_becomes_a_smaller_jpeg_that_looks_the_same(self):
        data = images.jpeg(images.photo(LARGE))
        developed = develop(data, LIMITS)
        assert (developed.info.content_type, developed.info.profile) == ("image/jpeg", "balanced")
        assert (developed.info.width, developed.info.height, developed.info.frame_count) == (
            640,
            480,
            1,
        )
        assert developed.info.codec == "jpegli q85"
        assert not developed.info.kept
        assert len(developed.data) < 0.7 * len(data)
        assert images.distance(images.pixels(data), images.pixels(developed.data)) < 6

    @pytest.mark.parametrize("quality", [40, 60, 84])
    def test_a_photo_of_lower_quality_is_kept_less_its_metadata(self, quality):
        data = images.jpeg(images.photo(LARGE), quality=quality)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "original"
        assert len(data) - 1_000 < len(developed.data) < len(data)
        assert images.same_pixels(images.pixels(data), images.pixels(developed.data))

    def test_a_compact_jpeg_is_kept_to_the_pixel(self):
        compact = develop(images.jpeg(images.photo(LARGE)), LIMITS).data
        developed = develop(compact, LIMITS)
        assert developed.info.kept
        assert developed.info.codec == "original"
        assert images.same_pixels(images.pixels(compact), images.pixels(developed.data))

    def test_grey_stays_grey(self):
        data = images.jpeg(images.photo(LARGE, "L"))
        assert images.pixels(develop(data, LIMITS).data).mode == "L"

    def test_cmyk_keeps_its_colours(self):
        data = images.jpeg(images.photo(LARGE, "CMYK"))
        stored = develop(data, LIMITS).data
        assert images.pixels(stored).mode == "CMYK"
        assert images.same_pixels(images.pixels(data), images.pixels(stored))

    def test_only_the_first_picture_of_several_is_kept(self):
        data = images.multi_picture()
        stored = develop(data, LIMITS).data
        with Image.open(io.BytesIO(stored)) as image:
            assert image.format == "JPEG"
            assert getattr(image, "n_frames", 1) == 1
        assert images.distance(images.pixels(data), images.pixels(stored)) < 6

    def test_damage_that_decoders_pass_over_does_not_cut_the_picture_short(self):
        data = bytearray(images.jpeg(images.photo(LARGE), private=False, restart_marker_rows=1))
        middle = len(data) // 2
        data[middle : middle + 2] = b"\xff\x9f"
        stored = develop(bytes(data), LIMITS).data
        before, after = images.pixels(bytes(data)), images.pixels(stored)
        last_rows = (0, 400, 640, 480)
        assert images.distance(before.crop(last_rows), after.crop(last_rows)) < 8


class TestGif:
    def test_it_stays_gif_and_pixel_identical(self):
        data = images.gif()
        developed = develop(data, LIMITS)
        assert developed.info.content_type == "image/gif"
        assert images.same_pixels(images.pixels(data), images.pixels(developed.data))


class TestOrientation:
    @pytest.mark.parametrize("make", [images.jpeg, images.png, images.webp])
    def test_the_picture_is_seen_as_before(self, make):
        with every_case() as case:
            for size, orientation in itertools.product((LARGE, (24, 16)), range(1, 9)):
                with case(f"{size} at orientation {orientation}"):
                    data = make(images.photo(size, noise=16), orientation=orientation)
                    stored = develop(data, LIMITS)
                    before, after = images.pixels(data), images.pixels(stored.data)
                    assert (stored.info.width, stored.info.height) == after.size == before.size
                    assert images.distance(before, after) < 8

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_a_new_encoding_is_upright_itself(self, orientation):
        data = images.jpeg(images.photo(LARGE), orientation=orientation)
        developed = develop(data, LIMITS)
        assert not developed.info.kept
        assert b"Exif" not in developed.data

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_a_kept_upload_keeps_nothing_but_the_orientation(self, orientation):
        compact = develop(images.jpeg(images.photo(LARGE), private=False), LIMITS).data
        data = compact[:2] + images.segment(0xE1, images.exif(orientation).tobytes()) + compact[2:]
        developed = develop(data, LIMITS)
        assert developed.info.kept
        with Image.open(io.BytesIO(developed.data)) as image:
            assert dict(image.getexif()) == {0x0112: orientation}
        assert images.same_pixels(images.pixels(data), images.pixels(developed.data))

    @pytest.mark.parametrize(
        "block",
        [b"", b"II*\0", b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"],
    )
    def test_broken_exif_does_not_make_a_picture_unreadable(self, block):
        plain = images.jpeg(private=False)
        data = plain[:2] + images.segment(0xE1, b"Exif\0\0" + block) + plain[2:]
        developed = develop(data, LIMITS)
        assert (developed.info.width, developed.info.height) == (96, 64)

    def test_an_orientation_that_does_not_exist_is_none(self):
        assert develop(images.jpeg(orientation=9), LIMITS).info.width == 96


class TestAnimation:
    @pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP"])
    def test_frames_durations_and_loop_are_those_of_the_upload(self, format_name):
        data = images.animated(format_name)
        developed = develop(data, LIMITS)
        before, after = images.frames_of(data), images.frames_of(developed.data)
        assert developed.info.frame_count == len(after) == 4
        assert [frame[1:] for frame in after] == [frame[1:] for frame in before]
        assert [duration for _, duration, _ in after] == [40, 50, 60, 70]
        assert {loop for *_, loop in after} == {3}
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))

    @pytest.mark.parametrize("disposal", [1, 2, 3])
    def test_disposal_and_transparency_are_those_of_the_upload(self, disposal):
        data = images.animated("GIF", disposal=disposal, transparency=3)
        before, after = images.frames_of(data), images.frames_of(develop(data, LIMITS).data)
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))

    def test_the_still_picture_of_an_apng_is_not_one_of_its_frames(self):
        data = images.animated("PNG", default_image=True)
        developed = develop(data, LIMITS)
        assert developed.info.frame_count == 3
        assert len(images.frames_of(developed.data)) == 4
