"""Damaged images: refused or tolerated, and never a mistake of ours."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import EmptyBodyError, ImageRefusedError, UnsupportedFormatError
from tests.support import images
from tests.support.developing import LIMITS, develop
from tests.support.every_case import every_case

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
    # Where all but the end marker is there, nothing of the picture is: see test_open_ends.py.
    marker = {"jpeg": 2, "progressive": 2, "gif": 2, "animated gif": 2}.get(name, 0)
    end = len(data) - marker
    with every_case() as case:
        for cut in (*range(end - 12, end), *range(64, end, 64)):
            with case(f"{cut} bytes"), pytest.raises(ImageRefusedError):
                develop(data[:cut], LIMITS)


@pytest.mark.parametrize(
    ("format_name", "frame", "before"),
    [("PNG", b"fcTL", 4), ("WEBP", b"ANMF", 0)],
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
    with contextlib.suppress(EmptyBodyError, ImageRefusedError, UnsupportedFormatError):
        develop(bytes(data), LIMITS)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tail=st.binary(max_size=200), keep=st.floats(0, 1))
def test_any_bytes_after_a_beginning_are_refused_or_tolerated(name, tail, keep):
    data = MAKERS[name]()
    with contextlib.suppress(EmptyBodyError, ImageRefusedError, UnsupportedFormatError):
        develop(data[: int(keep * len(data))] + tail, LIMITS)
