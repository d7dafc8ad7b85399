"""What becomes of an upload: its pixels, its size, its shape."""

import contextlib
import io
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from app.errors import ImageRefusedError, InvalidImageError, UnsupportedFormatError
from app.imaging.codecs import optimize
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop

LIMITS = ImageLimits()
LARGE = (640, 480)


def frames_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return [
            (frame.convert("RGBA"), frame.info.get("duration"), image.info.get("loop"))
            for frame in ImageSequence.Iterator(image)
        ]


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

    def test_a_photo_of_lower_quality_is_packed_without_a_change_to_its_pixels(self):
        data = images.jpeg(images.photo(LARGE), quality=60)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "mozjpeg lossless"
        assert len(developed.data) < len(data)
        assert images.same_pixels(images.pixels(data), images.pixels(developed.data))

    def test_without_the_extra_it_is_not_raised_to_the_quality_of_the_profile(self, monkeypatch):
        monkeypatch.setattr(optimize, "mozjpeg", None)
        data = images.jpeg(images.photo(LARGE), quality=60)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "jpeg own tables progressive"
        assert len(developed.data) < len(data)
        assert images.distance(images.pixels(data), images.pixels(developed.data)) < 0.5

    def test_what_is_compact_already_is_kept_to_the_pixel(self):
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


class TestPng:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
    def test_every_mode_is_packed_and_looks_the_same(self, mode):
        data = images.png(images.photo(LARGE, mode), compress_level=0)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "oxipng 1"
        assert len(developed.data) < len(data)
        assert images.same_pixels(images.pixels(developed.data), images.pixels(data))

    def test_an_animation_is_packed_frame_by_frame(self):
        data = images.animated("PNG", size=(160, 120), compress_level=0)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "oxipng 1"
        before, after = frames_of(data), frames_of(developed.data)
        assert [frame[1:] for frame in after] == [frame[1:] for frame in before]
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))

    def test_one_of_more_pixels_than_there_is_time_for_is_kept(self, monkeypatch):
        monkeypatch.setattr(optimize, "MAX_PNG_PIXELS", {1: 4 * 64 * 48 - 1})
        assert develop(images.animated("PNG", count=4, compress_level=0), LIMITS).info.kept

    @pytest.mark.parametrize(
        ("bit_depth", "colour_type", "channels", "key"),
        [(16, 2, 3, b""), (16, 6, 4, b""), (8, 2, 3, bytes(6)), (4, 0, 1, b"\0\5")],
        ids=["deep RGB", "deep RGBA", "colour key", "grey key"],
    )
    def test_what_pillow_cannot_write_is_packed_exactly(
        self, bit_depth, colour_type, channels, key
    ):
        data = images.raw_png((64, 64), bit_depth, colour_type, channels, key)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "oxipng 1"
        assert images.same_pixels(images.pixels(developed.data), images.pixels(data))
        assert developed.data[24] == bit_depth or bit_depth < 16


class TestPngWithoutTheExtra:
    """Pillow packs what it can write exactly."""

    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch):
        monkeypatch.setattr(optimize, "oxipng", None)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
    def test_every_mode_is_packed_without_a_change_to_its_pixels(self, mode):
        image = Image.new("I;16", LARGE) if mode == "I;16" else images.photo(LARGE, mode)
        if mode == "I;16":
            image.frombytes(bytes(range(256)) * (2 * 640 * 480 // 256))
        data = images.png(image, compress_level=0)
        developed = develop(data, LIMITS)
        stored = images.pixels(developed.data)
        assert developed.info.codec == "png deflate 6"
        assert len(developed.data) < len(data)
        assert stored.mode == images.pixels(data).mode
        assert stored.tobytes() == images.pixels(data).tobytes()
        assert images.same_pixels(stored, images.pixels(data)) or mode == "I;16"

    @pytest.mark.parametrize("profile", list(Profile))
    def test_an_interlaced_one_is_seen_as_before(self, profile):
        data = images.interlaced_png()
        seen = images.pixels(develop(data, LIMITS, profile).data)
        assert [seen.convert("L").getpixel(at) for at in ((0, 0), (5, 3), (23, 15))] == [0, 48, 222]

    def test_a_palette_keeps_its_transparency(self):
        image = images.photo(LARGE).quantize(64)
        data = images.png(image, compress_level=0, transparency=bytes(range(0, 256, 4)))
        developed = develop(data, LIMITS)
        assert not developed.info.kept
        assert images.same_pixels(images.pixels(developed.data), images.pixels(data))

    @pytest.mark.parametrize(
        ("bit_depth", "colour_type", "channels", "key"),
        [
            (16, 2, 3, b""),
            (16, 6, 4, b""),
            (16, 4, 2, b""),
            (8, 2, 3, bytes(6)),
            (4, 0, 1, b"\0\5"),
        ],
        ids=["deep RGB", "deep RGBA", "deep grey with alpha", "colour key", "grey key"],
    )
    def test_what_pillow_cannot_write_exactly_is_kept(self, bit_depth, colour_type, channels, key):
        data = images.raw_png((64, 64), bit_depth, colour_type, channels, key)
        developed = develop(data + images.ARCHIVE, LIMITS)
        assert developed.info.kept
        assert developed.data == data

    def test_what_decides_the_colour_is_kept_when_packed_again(self):
        appearance = [
            (b"gAMA", (45_455).to_bytes(4)),
            (b"cHRM", b"".join(n.to_bytes(4) for n in range(1, 9))),
            (b"cICP", b"\x09\x10\x00\x01"),
            (b"sBIT", b"\x08\x08\x08"),
            (b"pHYs", bytes(9)),
        ]
        data = images.png(images.photo(LARGE), chunks=appearance, compress_level=0)
        developed = develop(data, LIMITS)
        assert not developed.info.kept
        assert all(images.chunk(*chunk) in developed.data for chunk in appearance)


class TestDamagedPng:
    def test_a_wrong_checksum_is_refused(self):
        data = bytearray(images.png(private=False, icc=False))
        data[-20] ^= 1
        with pytest.raises(InvalidImageError, match="checksum"):
            develop(bytes(data), LIMITS)

    def test_a_profile_that_unpacks_to_too_much_is_refused(self):
        bomb = b"profile\0\0" + images.zlib.compress(bytes(50_000_000), 9)
        data = images.png(icc=False, private=False, chunks=[(b"iCCP", bomb)])
        with pytest.raises(InvalidImageError):
            develop(data, LIMITS)

    def test_text_that_unpacks_to_too_much_never_reaches_the_decoder(self):
        bomb = b"Comment\0\0" + images.zlib.compress(bytes(50_000_000), 9)
        data = images.png(private=False, chunks=[(b"zTXt", bomb)])
        assert len(develop(data, LIMITS).data) < 20_000


class TestWebp:
    @pytest.mark.parametrize("lossless", [True, False])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_it_stays_webp_and_pixel_identical(self, lossless, mode):
        data = images.webp(images.photo(LARGE, mode), lossless=lossless)
        developed = develop(data, LIMITS)
        assert developed.info.content_type == "image/webp"
        assert images.same_pixels(images.pixels(data), images.pixels(developed.data))


class TestGif:
    def test_it_stays_gif_and_pixel_identical(self):
        data = images.gif()
        developed = develop(data, LIMITS)
        assert developed.info.content_type == "image/gif"
        assert images.same_pixels(images.pixels(data), images.pixels(developed.data))


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("make", [images.jpeg, images.png, images.webp])
    @pytest.mark.parametrize("size", [LARGE, (24, 16)], ids=["large", "small"])
    def test_the_picture_is_seen_as_before(self, make, orientation, size):
        data = make(images.photo(size, noise=16), orientation=orientation)
        developed = develop(data, LIMITS)
        before, after = images.pixels(data), images.pixels(developed.data)
        assert (developed.info.width, developed.info.height) == after.size == before.size
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
        before, after = frames_of(data), frames_of(developed.data)
        assert developed.info.frame_count == len(after) == 4
        assert [frame[1:] for frame in after] == [frame[1:] for frame in before]
        assert [duration for _, duration, _ in after] == [40, 50, 60, 70]
        assert {loop for *_, loop in after} == {3}
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))

    @pytest.mark.parametrize("disposal", [1, 2, 3])
    def test_disposal_and_transparency_are_those_of_the_upload(self, disposal):
        data = images.animated("GIF", disposal=disposal, transparency=3)
        before, after = frames_of(data), frames_of(develop(data, LIMITS).data)
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))

    def test_the_still_picture_of_an_apng_is_not_one_of_its_frames(self):
        data = images.animated("PNG", default_image=True)
        developed = develop(data, LIMITS)
        assert developed.info.frame_count == 3
        assert len(frames_of(developed.data)) == 4

    def test_an_apng_that_miscounts_its_frames_is_refused(self):
        data = images.animated("PNG", private=False, icc=False)
        control = data.index(b"acTL")
        payload = (2).to_bytes(4) + data[control + 8 : control + 12]
        data = data[: control - 4] + images.chunk(b"acTL", payload) + data[control + 16 :]
        with pytest.raises(InvalidImageError, match="frames"):
            develop(data, LIMITS)


MAKERS = {
    "jpeg": images.jpeg,
    "progressive": lambda: images.jpeg(progressive=True),
    "png": images.png,
    "webp": images.webp,
    "lossless webp": lambda: images.webp(lossless=True),
    "gif": images.gif,
    "animated gif": lambda: images.animated("GIF"),
    "apng": lambda: images.animated("PNG"),
    "animated webp": lambda: images.animated("WEBP"),
    "avif": images.avif,
    "heic": images.heic,
    "tiff": images.tiff,
    "bmp": images.bmp,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_truncated_image_is_refused_wherever_it_is_cut(name):
    data = MAKERS[name]()
    cuts = itertools.chain(range(len(data) - 12, len(data)), range(64, len(data), 64))
    for cut in cuts:
        with pytest.raises(ImageRefusedError):
            develop(data[:cut], LIMITS)


@pytest.mark.parametrize(
    ("format_name", "frame", "before"),
    [("GIF", b"!\xf9", 0), ("PNG", b"fcTL", 4), ("WEBP", b"ANMF", 0)],
)
def test_an_animation_that_is_cut_between_two_frames_is_refused(format_name, frame, before):
    data = images.animated(format_name, private=False)
    with pytest.raises(ImageRefusedError):
        develop(data[: data.rindex(frame) - before], LIMITS)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255))))
def test_flipped_bits_are_refused_or_tolerated_but_never_a_mistake_of_ours(name, flips):
    data = bytearray(MAKERS[name]())
    for place, mask in flips:
        data[int(place * len(data))] ^= mask
    with contextlib.suppress(ImageRefusedError, UnsupportedFormatError):
        develop(bytes(data), LIMITS)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tail=st.binary(max_size=200), keep=st.floats(0, 1))
def test_any_bytes_after_a_beginning_are_refused_or_tolerated(name, tail, keep):
    data = MAKERS[name]()
    with contextlib.suppress(ImageRefusedError, UnsupportedFormatError):
        develop(data[: int(keep * len(data))] + tail, LIMITS)
