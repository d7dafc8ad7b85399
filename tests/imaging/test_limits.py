"""Limits: an image beyond one is refused before memory is spent."""

import pytest
from PIL import Image

from app.errors import ImageLimitError, InvalidImageError
from app.imaging.limits import ImageLimits
from tests.support import bombs, images
from tests.support.developing import LIMITS, develop
from tests.support.peak import peak_of_refusal

MAKERS = [images.jpeg, images.png, images.webp, images.gif]


@pytest.mark.parametrize("make", MAKERS)
def test_an_image_at_the_limits_is_stored_and_one_beyond_is_refused(make):
    data = make()
    assert develop(data, ImageLimits(max_pixels=96 * 64, max_side=96)).info.width == 96
    with pytest.raises(ImageLimitError, match="6,144 pixels"):
        develop(data, ImageLimits(max_pixels=96 * 64 - 1))
    with pytest.raises(ImageLimitError, match="a side may have 95"):
        develop(data, ImageLimits(max_side=95))


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP"])
def test_an_animation_has_its_frames_counted_and_their_pixels_summed(format_name):
    data = images.animated(format_name, count=4)
    assert develop(data, ImageLimits(max_pixels=4 * 64 * 48, max_frames=4)).info.frame_count == 4
    with pytest.raises(ImageLimitError, match="4 frames"):
        develop(data, ImageLimits(max_frames=3))
    with pytest.raises(ImageLimitError, match="pixels"):
        develop(data, ImageLimits(max_pixels=4 * 64 * 48 - 1))


def test_a_bomb_is_refused_without_memory_for_its_pixels():
    data = bombs.bomb_png()
    assert len(data) < 30_000
    with pytest.raises(ImageLimitError):
        develop(data, ImageLimits())
    peak = peak_of_refusal(data)
    assert peak.traced_bytes < 1_000_000
    assert peak.resident_bytes < 8_000_000


def test_a_gif_frame_that_lies_outside_the_screen_counts_with_the_canvas_it_needs():
    data = bytearray(images.gif(private=False))
    descriptor = data.index(b",", 13 + 3 * 32)
    data[descriptor + 1 : descriptor + 3] = (9_000).to_bytes(2, "little")
    with pytest.raises(ImageLimitError, match="9096 x 64"):
        develop(bytes(data), ImageLimits(max_side=5_000))


def test_the_limits_here_are_in_force_and_not_those_of_the_decoder(monkeypatch):
    """Pillow has a limit of its own, and checks it where a GIF's frame grows the canvas."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    data = bytearray(images.gif(private=False))
    descriptor = data.index(b",", 13 + 3 * 32)
    data[descriptor + 1 : descriptor + 3] = (100).to_bytes(2, "little")
    assert develop(bytes(data), ImageLimits()).info.width == 196


@pytest.mark.parametrize("size", [(0, 1), (1, 0)])
def test_an_image_without_pixels_is_invalid(size):
    with pytest.raises(InvalidImageError):
        ImageLimits().check(size, 1, 100)


class TestLimit:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: _with_segment(images.jpeg(private=False), b"x" * 60_000),
            lambda: _with_icc_chunk(images.webp(private=False, icc=False), 60_000),
            lambda: images.png(chunks=[(b"tEXt", b"a\0" + b"x" * 60_000)]),
            lambda: _with_comment(images.gif(private=False), 240),
        ],
        ids=["JPEG comment", "WebP profile", "PNG text", "GIF comment"],
    )
    def test_more_metadata_than_the_limit_is_refused_before_it_is_decoded(self, make):
        data = make()
        assert develop(data, LIMITS).info.width == 96
        with pytest.raises(ImageLimitError, match=r"bytes of metadata; 50,000 are allowed"):
            develop(data, ImageLimits(max_metadata_bytes=50_000))

    def test_a_profile_of_80_megabytes_is_refused(self):
        data = images.png(icc=False, private=False, chunks=[(b"iCCP", bytes(80_000_000))])
        with pytest.raises(ImageLimitError, match="80,000,000"):
            develop(data, LIMITS)

    def test_a_text_of_80_megabytes_is_refused(self):
        data = images.png(icc=False, private=False, chunks=[(b"tEXt", b"a\0" + bytes(80_000_000))])
        with pytest.raises(ImageLimitError, match="80,000,002"):
            develop(data, LIMITS)

    def test_bytes_after_a_picture_are_no_metadata(self):
        assert develop(images.jpeg() + bytes(20_000_000), LIMITS).info.width == 96


def _with_segment(data, comment):
    return data[:2] + images.segment(0xFE, comment) + data[2:]


def _with_comment(data, blocks):
    return data[:-1] + b"!\xfe" + (b"\xff" + b"x" * 255) * blocks + b"\0;"


def _with_icc_chunk(data, length):
    """Return a lossy WebP in the extended layout with a colour profile of so many bytes."""
    body = data[12:]
    header = b"VP8X" + (10).to_bytes(4, "little") + b"\x20\0\0\0"
    header += (95).to_bytes(3, "little") + (63).to_bytes(3, "little")
    body = header + b"ICCP" + length.to_bytes(4, "little") + bytes(length) + body
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
