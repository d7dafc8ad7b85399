"""Files that are made to do harm: each is refused, or stored as the picture that it shows."""

import itertools
import struct
import zlib

import pytest
from PIL import Image

from app.errors import ImageLimitError, ImageRefusedError, InvalidImageError
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile
from tests.support import bombs, images
from tests.support.developing import LIMITS, develop, served
from tests.support.every_case import every_case
from tests.support.peak import peak_of_refusal, peak_of_storing
from tests.support.siege.uploads import flat_webp_file


class TestBombs:
    @pytest.mark.parametrize("make", [bombs.bomb_png, bombs.deep_bomb_png])
    def test_177_megapixels_are_refused_without_memory_for_them(self, make):
        data = make()
        assert len(data) < 600_000
        with pytest.raises(ImageLimitError, match=r"176,890,000 pixels"):
            develop(data, LIMITS)
        peak = peak_of_refusal(data)
        assert peak.traced_bytes < 2_000_000
        assert peak.resident_bytes < 8_000_000

    def test_a_still_webp_is_not_held_in_the_canvases_of_an_animation(self):
        # A canvas, its copy and the frame, but no image yet beside them.
        peak = peak_of_storing(flat_webp_file(4000, 4000))
        assert peak.resident_bytes < 3.5 * 4 * 4000 * 4000

    def test_a_gif_of_100_000_frames_is_refused_by_their_number(self):
        with pytest.raises(ImageLimitError, match="100,000 frames"):
            develop(bombs.long_gif(100_000), LIMITS)

    def test_as_many_frames_as_are_allowed_are_stored(self):
        assert develop(bombs.long_gif(1_000), LIMITS).info.frame_count == 1_000

    def test_an_apng_whose_frames_sum_up_to_too_much_is_refused(self):
        frames = [Image.new("1", (3000, 3000), number % 2) for number in range(6)]
        data = images.saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
        assert len(data) < 100_000
        with pytest.raises(ImageLimitError, match=r"54,000,000 pixels in 6 frame"):
            develop(data, LIMITS)


def empty_chunks(name, count):
    data = images.png(private=False, icc=False)
    return data[:33] + images.chunk(name, b"") * count + data[33:]


def empty_riff_chunks(count):
    data = images.webp(private=False)
    data += b"JUNK\0\0\0\0" * count
    return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]


class TestTinyParts:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: empty_chunks(b"tEXt", 20_000),
            lambda: empty_chunks(b"IDAT", 200_000),
            lambda: empty_riff_chunks(40_000),
            lambda: images.gif()[:-1] + b"!\xfe\0" * 400_000 + b";",
            lambda: images.jpeg()[:2] + b"\xff\xfe\0\2" * 20_000 + images.jpeg()[2:],
            lambda: bombs.spinning_jpeg(side=64, scans=200),
        ],
        ids=["PNG text", "PNG data", "WebP", "GIF", "JPEG segments", "JPEG scans"],
    )
    def test_more_of_them_than_any_picture_has_are_refused(self, make):
        with pytest.raises(InvalidImageError, match="over"):
            develop(make(), LIMITS)

    def test_zeros_between_the_blocks_of_a_gif_are_passed_over(self):
        data = images.gif(private=False)
        assert develop(data[:-1] + bytes(10_000_000) + b";", LIMITS).data == data

    def test_bytes_hidden_in_a_loop_count_or_a_control_go(self):
        loops = b"!\xff\x0bNETSCAPE2.0\3\1\3\0\x0dSECRET-HIDDEN\0"
        control = b"!\xf9\4\0\0\0\0\x0dSECRET-HIDDEN\0"
        data = images.gif(private=False)
        at = 13 + 3 * 32
        assert b"SECRET" not in develop(data[:at] + loops + control + data[at:], LIMITS).data

    def test_bytes_hidden_in_a_chunk_of_fixed_length_go(self):
        hidden = [(b"mDCV", b"SECRET".ljust(30)), (b"gAMA", (45_455).to_bytes(4) + b"SECRET")]
        data = images.png(private=False, chunks=hidden)
        assert b"SECRET" not in develop(data, LIMITS, Profile.ORIGINAL).data


SIDES = {
    "JPEG": (16_384, 1),
    "PNG": (1, 16_384),
    "GIF": (16_384, 1),
    "TIFF": (1, 16_384),
    "BMP": (16_384, 1),
    "AVIF": (16_384, 1),
    "HEIF": (16_384, 64),
}


@pytest.mark.parametrize("name", SIDES)
def test_a_side_of_16384_pixels_is_refused_and_one_less_is_allowed(name):
    images.heic()  # registers HEIF
    width, height = SIDES[name]
    with pytest.raises(ImageLimitError, match="a side may have 16,383 pixels"):
        develop(images.saved(Image.new("RGB", (width, height)), name), LIMITS)
    longest = images.saved(Image.new("RGB", (min(width, 16_383), min(height, 16_383))), name)
    assert develop(longest, LIMITS).info.width == min(width, 16_383)


def test_a_webp_cannot_be_longer_than_is_allowed():
    assert develop(images.saved(Image.new("RGB", (16_383, 1)), "WEBP"), LIMITS).info.width == 16_383
    with pytest.raises(ImageLimitError):
        develop(images.saved(Image.new("RGB", (1000, 1)), "WEBP"), ImageLimits(max_side=999))


def patched(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def png_of(width, height):
    header = images.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = images.chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + images.chunk(b"IEND", b"")


def jpeg_of(width, height):
    data = images.jpeg(private=False)
    return patched(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def tiff_of(width, height):
    data = images.saved(Image.new("L", (8, 8)), "TIFF")
    at = int.from_bytes(data[4:8], "little") + 2
    tags = {int.from_bytes(data[p : p + 2], "little"): p for p in range(at, at + 12 * 8, 12)}
    data = patched(data, tags[256] + 8, struct.pack("<H", width))
    return patched(data, tags[257] + 8, struct.pack("<H", height))


def gif_of(width, height):
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return data + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2D\1\0;"


def bmp_of(width, height):
    return patched(images.bmp(), 18, struct.pack("<ii", width, height))


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
@pytest.mark.parametrize("make", [png_of, jpeg_of, tiff_of, gif_of, bmp_of])
def test_no_width_or_no_height_is_refused(make, size):
    with pytest.raises(ImageRefusedError):
        develop(make(*size), LIMITS)


class TestLyingHeaders:
    # A JPEG's missing rows are grey in every decoder: no data is what smooth areas come to.
    @pytest.mark.parametrize("make", [png_of, tiff_of, gif_of, bmp_of])
    def test_more_pixels_than_there_are_is_refused(self, make):
        with pytest.raises(InvalidImageError):
            develop(make(5000, 5000), LIMITS)

    @pytest.mark.parametrize("profile", list(Profile))
    def test_a_webp_whose_canvas_is_not_its_picture_is_refused(self, profile):
        data = images.webp(images.photo((64, 48)))
        at = data.index(b"VP8X") + 12
        with pytest.raises(ImageRefusedError):
            develop(patched(data, at, (199).to_bytes(3, "little")), LIMITS, profile)

    def test_a_webp_that_says_it_has_more_bytes_than_it_has_is_refused(self):
        data = images.webp()
        with pytest.raises(InvalidImageError, match="truncated"):
            develop(patched(data, 4, (len(data) + 1000).to_bytes(4, "little")), LIMITS)

    @pytest.mark.parametrize("make", [images.avif, images.heic])
    def test_a_picture_smaller_than_its_property_says_is_refused_or_seen_as_it_is(self, make):
        data = make(images.photo((64, 48)))
        at = data.index(b"ispe") + 8
        try:
            developed = develop(patched(data, at, (6400).to_bytes(4)), LIMITS)
        except ImageRefusedError:
            return
        assert images.pixels(developed.data).size == (developed.info.width, developed.info.height)

    def test_a_tiff_that_leads_round_in_circles_has_one_page(self):
        data = images.saved(Image.new("L", (8, 8)), "TIFF")
        at = int.from_bytes(data[4:8], "little")
        count = int.from_bytes(data[at : at + 2], "little")
        circle = patched(data, at + 2 + 12 * count, struct.pack("<I", at))
        assert develop(circle, LIMITS).info.frame_count == 1

    def test_boxes_that_hold_each_other_without_end_are_refused(self):
        nested = b""
        for _ in range(2000):
            nested = struct.pack(">I4s", len(nested) + 8, b"moov") + nested
        data = images.avif()[:32] + nested
        with pytest.raises(InvalidImageError, match="too deeply"):
            develop(data, LIMITS)


ZIP = images.ARCHIVE
SCRIPT = b"*/=1;alert('SECRET-SCRIPT')/*"
POLYGLOTS = {
    "zip in JPEG": lambda: images.jpeg() + ZIP,
    "zip in a JPEG's comment": lambda: _after_soi(images.segment(0xFE, ZIP)),
    "PHP in a JPEG's EXIF": lambda: _after_soi(
        images.segment(0xE1, b"Exif\0\0<?php SECRET-SCRIPT")
    ),
    "script in a GIF's comment": lambda: images.gif()[:-1] + b"!\xfe" + _blocks(SCRIPT) + b";",
    "script after a GIF": lambda: images.gif() + SCRIPT,
    "zip after a PNG": lambda: images.png() + ZIP,
    "zip in a chunk of a PNG": lambda: images.png(chunks=[(b"zIPp", ZIP)]),
    "zip after a WebP": lambda: images.webp() + ZIP,
    "zip after an AVIF": lambda: images.avif() + ZIP,
    "zip in a box of an AVIF": lambda: images.avif() + _box(b"free", ZIP),
    "zip after a HEIC": lambda: images.heic() + ZIP,
    "zip in a box of a HEIC": lambda: images.heic() + _box(b"uuid", ZIP),
    "zip after a TIFF": lambda: images.tiff() + ZIP,
    "zip after a BMP": lambda: images.bmp() + ZIP,
}


def _after_soi(inserted):
    data = images.jpeg()
    return data[:2] + inserted + data[2:]


def _blocks(text):
    return bytes((len(text),)) + text + b"\0"


def _box(kind, content):
    return struct.pack(">I4s", len(content) + 8, kind) + content


def test_a_polyglot_is_stored_as_the_picture_and_nothing_else():
    profiles = (Profile.ORIGINAL, Profile.LOSSLESS, Profile.BALANCED)
    with every_case() as case:
        for (name, make), profile in itertools.product(POLYGLOTS.items(), profiles):
            with case(f"{name} as {profile}"):
                check_polyglot(make(), profile)


def check_polyglot(data, profile):
    if profile is Profile.ORIGINAL and data[:2] in {b"II", b"BM"}:
        with pytest.raises(InvalidImageError, match=r"metadata of a (TIFF|BMP) cannot"):
            develop(data, LIMITS, profile)
        return
    developed = develop(data, LIMITS, profile)
    assert b"SECRET" not in developed.data
    shown = images.pixels(developed.data).convert("RGB")
    assert images.distance(shown, images.pixels(data).convert("RGB")) < 8


def test_ycck_is_seen_as_before():
    data = bytearray(images.jpeg(images.photo((320, 240), "CMYK"), icc=False))
    adobe = data.index(b"\xff\xeeAdobe"[2:])
    data[adobe + 11] = 2  # the colour transform: YCCK
    data = bytes(data)
    for profile in Profile:
        file = served(develop(data, LIMITS, profile))
        assert images.same_pixels(images.pixels(file), images.pixels(data))
