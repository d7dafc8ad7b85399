"""What viewers read of a container in an unusual form stays when metadata goes."""

import io

import pytest
from PIL import Image

from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop, examine
from tests.support.gifs import APPLICATION, BUFFERING, CONTROL, LONG_CONTROL, LOOPS, gif
from tests.support.odd_images import without_flags


def stored_gif(data, profile=Profile.ORIGINAL):
    with Image.open(io.BytesIO(develop(data, profile=profile).data)) as image:
        first = dict(image.info)
        image.seek(1)
        return first, image.info["duration"]


@pytest.mark.parametrize("profile", list(Profile))
class TestGif:
    @pytest.mark.parametrize(
        "control",
        [CONTROL, LONG_CONTROL, CONTROL + b"\2\xaa\xbb"],
        ids=["usual", "longer", "two sub-blocks"],
    )
    def test_a_graphic_control_of_any_length_counts(self, control, profile):
        info, duration = stored_gif(gif(control), profile)
        assert (info["duration"], info["transparency"], duration) == (300, 1, 300)

    @pytest.mark.parametrize(
        "sub_blocks",
        [LOOPS, LOOPS + BUFFERING, BUFFERING + LOOPS, b"\x04\1\0\0\xaa", b"\x03\x41\0\0"],
        ids=["usual", "then buffering", "buffering first", "longer", "reserved bits"],
    )
    @pytest.mark.parametrize("name", [b"NETSCAPE2.0", b"ANIMEXTS1.0"])
    def test_it_loops(self, sub_blocks, name, profile):
        loops = APPLICATION + name + sub_blocks + b"\0"
        stored = develop(gif(loops=loops), profile=profile).data
        assert APPLICATION + name + LOOPS + b"\0" in stored

    def test_a_graphic_control_before_a_text_counts_for_the_next_image_as_in_viewers(self, profile):
        text = b"!\x01\x0c" + bytes(12) + b"\6SECRET\0"
        data = gif(between=text)
        info, duration = stored_gif(data, profile)
        assert (info["duration"], duration) == (300, 300)
        assert b"SECRET" not in develop(data, profile=profile).data


class TestJpeg:
    def test_a_jfif_segment_that_is_too_short_changes_no_colours(self):
        """libjpeg takes components called R, G and B for RGB, unless there is a whole JFIF."""
        data = images.saved(images.photo(noise=0), "JPEG", keep_rgb=True, quality=95)
        at = 2
        while data[at + 1] in {0xE0, 0xEE}:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
        data = data[:2] + images.segment(0xE0, b"JFIF\0" + bytes(7)) + data[at:]
        for profile in (Profile.ORIGINAL, Profile.LOSSLESS, Profile.BALANCED):
            stored = develop(data, profile=profile).data
            assert images.distance(images.pixels(data), images.pixels(stored)) < 8


class TestWebp:
    @pytest.mark.parametrize("profile", list(Profile))
    def test_a_profile_whose_flag_is_not_set_is_none(self, profile):
        data = without_flags(images.webp(images.photo()))
        assert images.profile_of(data) is None
        assert images.profile_of(develop(data, profile=profile).data) is None

    def test_so_is_an_orientation(self):
        data = images.webp(images.photo(), orientation=6)
        assert develop(data).info.width == 64
        assert develop(without_flags(data)).info.width == 96
        assert examine(develop(without_flags(data)).data).stripped.orientation == 1


class TestPngAnimation:
    @pytest.mark.parametrize("profile", list(Profile))
    def test_frames_of_every_disposal_stay(self, profile):
        data = images.animated("PNG", disposal=1, blend=0)
        stored = develop(data, profile=profile).data
        before, after = images.frames_of(data), images.frames_of(stored)
        assert [frame[1:] for frame in after] == [frame[1:] for frame in before]
        assert all(images.same_pixels(b[0], a[0]) for b, a in zip(before, after, strict=True))
