"""PNG: packed better or kept, and every pixel is the upload's."""

import zlib

import pytest
from PIL import Image

from app.errors import InvalidImageError
from app.imaging.codecs import optimize
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe
from tests.support import images, odd_images
from tests.support.developing import develop, developed_and_packed

LIMITS = ImageLimits()
LARGE = (640, 480)


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
        before, after = images.frames_of(data), images.frames_of(developed.data)
        assert [frame[1:] for frame in after] == [frame[1:] for frame in before]
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))

    def test_one_of_more_pixels_than_there_is_time_for_is_kept(self):
        frames = [Image.new("L", (110, 100), shade) for shade in (0, 80, 160, 240)]
        data = images.saved(
            frames[0], "PNG", append_images=frames[1:], save_all=True, compress_level=0
        )
        codecs = [
            developed_and_packed(data, LIMITS, Recipe(), seconds).info.codec
            for seconds in (0.05, 0.01, 0.001)
        ]
        assert codecs == ["oxipng 1", "oxipng 0", "original"]

    @pytest.mark.parametrize(
        ("bit_depth", "colour_type", "channels", "key"),
        [(16, 2, 3, b""), (16, 6, 4, b""), (8, 2, 3, bytes(6)), (4, 0, 1, b"\0\5")],
        ids=["deep RGB", "deep RGBA", "colour key", "grey key"],
    )
    def test_a_kind_that_pillow_cannot_write_is_packed_exactly(
        self, bit_depth, colour_type, channels, key
    ):
        data = odd_images.raw_png((64, 64), bit_depth, colour_type, channels, key)
        developed = develop(data, LIMITS)
        assert developed.info.codec == "oxipng 1"
        assert images.same_pixels(images.pixels(developed.data), images.pixels(data))
        assert developed.data[24] == bit_depth or bit_depth < 16


class TestPngWithoutTheExtra:
    """Pillow packs the kinds of PNG that it writes exactly."""

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
        data = odd_images.interlaced_png()
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
    def test_a_kind_that_pillow_cannot_write_exactly_is_kept(
        self, bit_depth, colour_type, channels, key
    ):
        data = odd_images.raw_png((64, 64), bit_depth, colour_type, channels, key)
        developed = develop(data + images.ARCHIVE, LIMITS)
        assert developed.info.kept
        assert developed.data == data

    def test_chunks_that_decide_the_colour_stay_when_packed_again(self):
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
        bomb = b"profile\0\0" + zlib.compress(bytes(50_000_000), 9)
        data = images.png(icc=False, private=False, chunks=[(b"iCCP", bomb)])
        with pytest.raises(InvalidImageError):
            develop(data, LIMITS)

    def test_text_that_unpacks_to_too_much_never_reaches_the_decoder(self):
        bomb = b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9)
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
