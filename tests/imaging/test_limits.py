"""Limits: each refuses what is beyond it, before memory is spent."""

import resource
import tracemalloc

import pytest
from PIL import Image

from app.errors import ImageLimitError, InvalidImageError
from app.imaging.limits import ImageLimits
from tests.support import images
from tests.support.developing import develop

MAKERS = [images.jpeg, images.png, images.webp, images.gif]


@pytest.mark.parametrize("make", MAKERS)
def test_an_image_at_the_limits_is_taken_and_one_beyond_is_refused(make):
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
    data = images.bomb_png()
    assert len(data) < 30_000
    tracemalloc.start()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageLimitError):
        develop(data, ImageLimits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 8_000


def test_a_gif_frame_that_lies_outside_the_screen_counts_with_the_canvas_it_needs():
    data = bytearray(images.gif(private=False))
    descriptor = data.index(b",", 13 + 3 * 32)
    data[descriptor + 1 : descriptor + 3] = (9_000).to_bytes(2, "little")
    with pytest.raises(ImageLimitError, match="9096 x 64"):
        develop(bytes(data), ImageLimits(max_side=5_000))


def test_the_limits_here_are_in_force_and_not_those_of_the_decoder(monkeypatch):
    """Pillow has a limit of its own, and looks at it where a GIF's frame grows the canvas."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    data = bytearray(images.gif(private=False))
    descriptor = data.index(b",", 13 + 3 * 32)
    data[descriptor + 1 : descriptor + 3] = (100).to_bytes(2, "little")
    assert develop(bytes(data), ImageLimits()).info.width == 196


@pytest.mark.parametrize("size", [(0, 1), (1, 0)])
def test_an_image_without_pixels_is_invalid(size):
    with pytest.raises(InvalidImageError):
        ImageLimits().check(size, 1)
