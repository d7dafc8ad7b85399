"""BMP of every kind: seen as its header says, or refused by the name of its kind."""

import pytest

from app.errors import InvalidImageError
from app.imaging.profiles import Profile
from app.imaging.variants import still
from tests.support import bitmaps, images
from tests.support.bitmaps import PALETTE, RUNS, bmp, rows
from tests.support.developing import LIMITS, develop
from tests.support.profiles import grey_profile

SIZE = (4, 2)
RED, GREEN, BLUE, PALE = PALETTE
NEW = [Profile.BALANCED, Profile.LOSSLESS, Profile.SMALL]


def colours(data, y=0, mode="RGB"):
    """The colours of a row of a file without loss."""
    picture = images.pixels(data).convert(mode)
    return [picture.getpixel((x, y)) for x in range(picture.width)]


def seen(data, y=0, mode="RGB", profile=Profile.LOSSLESS):
    return colours(develop(data, profile=profile).data, y, mode)


class TestPalette:
    @pytest.mark.parametrize("bits", [2, 4, 8])
    @pytest.mark.parametrize("profile", NEW)
    def test_it_has_its_colours(self, bits, profile):
        data = bmp(SIZE, bits, rows(SIZE, bits, [0, 1, 2, 3]), palette=PALETTE)
        assert seen(data, profile=profile) == PALETTE

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_two_colours_in_any_depth(self, bits):
        data = bmp(SIZE, bits, rows(SIZE, bits, [0, 1, 1, 0]), palette=[(0, 0, 0), (255, 255, 255)])
        assert seen(data) == [(0, 0, 0), (255,) * 3, (255,) * 3, (0, 0, 0)]

    def test_sixteen_shades_that_are_as_dark_as_their_numbers(self):
        palette = [(shade,) * 3 for shade in range(16)]
        data = bmp(SIZE, 4, rows(SIZE, 4, [1, 5, 9, 15]), palette=palette)
        assert seen(data) == [(1,) * 3, (5,) * 3, (9,) * 3, (15,) * 3]

    @pytest.mark.parametrize("profile", NEW)
    def test_an_index_beyond_it_is_black(self, profile):
        data = bmp(SIZE, 8, rows(SIZE, 8, [0, 1, 2, 200]), palette=PALETTE[:2])
        assert seen(data, profile=profile) == [RED, GREEN, (0, 0, 0), (0, 0, 0)]

    def test_the_first_row_may_be_the_upper_one(self):
        pixels = rows((4, 1), 8, [0] * 4) + rows((4, 1), 8, [1] * 4)
        assert seen(bmp(SIZE, 8, pixels, palette=PALETTE, top_down=True)) == [RED] * 4
        assert seen(bmp(SIZE, 8, pixels, palette=PALETTE)) == [GREEN] * 4


class TestMasks:
    @pytest.mark.parametrize("profile", NEW)
    @pytest.mark.parametrize("header_bytes", [bitmaps.V3, bitmaps.V5])
    def test_an_alpha_bit_hides(self, profile, header_bytes):
        masks = (0x7C00, 0x3E0, 0x1F, 0x8000)
        pixels = rows(SIZE, 16, [0xFC00, 0x83E0, 0x001F, 0x7FFF])
        data = bmp(
            SIZE,
            16,
            pixels,
            compression=bitmaps.BITFIELDS,
            masks=masks,
            header_bytes=header_bytes,
        )
        stored = seen(data, mode="RGBA", profile=profile)
        assert [pixel[3] for pixel in stored] == [255, 255, 0, 0]
        assert stored[:2] == [(255, 0, 0, 255), (0, 255, 0, 255)]

    def test_four_bits_each_with_masks_after_the_header(self):
        masks = (0xF00, 0xF0, 0xF, 0xF000)
        pixels = rows(SIZE, 16, [0xFF00, 0xF0F0, 0x800F, 0x0FFF])
        data = bmp(SIZE, 16, pixels, compression=bitmaps.ALPHA_BITFIELDS, masks=masks)
        assert seen(data, mode="RGBA") == [
            (255, 0, 0, 255),
            (0, 255, 0, 255),
            (0, 0, 255, 136),
            (255, 255, 255, 0),
        ]

    @pytest.mark.parametrize(
        ("masks", "pixel"),
        [
            ((0xF800, 0x7E0, 0x1F), 0xF800),
            ((0x1F, 0x7E0, 0xF800), 0x1F),
            ((0x7C00, 0x3E0, 0x1F), 0x7C00),
        ],
    )
    def test_sixteen_bits_in_any_order(self, masks, pixel):
        data = bmp(
            SIZE, 16, rows(SIZE, 16, [pixel] * 4), compression=bitmaps.BITFIELDS, masks=masks
        )
        assert seen(data) == [(255, 0, 0)] * 4

    @pytest.mark.parametrize(
        ("masks", "pixel"),
        [
            ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 0x80C80A14),
            ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), 0x80140AC8),
            ((0xFF00, 0xFF0000, 0xFF000000, 0xFF), 0x140AC880),
        ],
    )
    def test_thirty_two_bits_in_any_order(self, masks, pixel):
        data = bmp(
            SIZE,
            32,
            rows(SIZE, 32, [pixel] * 4),
            compression=bitmaps.BITFIELDS,
            masks=masks,
            header_bytes=bitmaps.V5,
        )
        assert seen(data, mode="RGBA") == [(200, 10, 20, 128)] * 4

    def test_without_masks_the_fourth_byte_hides_nothing(self):
        data = bmp(SIZE, 32, rows(SIZE, 32, [0x00C80A14] * 4))
        assert seen(data, mode="RGBA") == [(200, 10, 20, 255)] * 4

    def test_a_picture_of_which_nothing_would_be_seen_is_opaque(self):
        data = bmp(
            SIZE,
            32,
            rows(SIZE, 32, [0x00C80A14] * 4),
            compression=bitmaps.BITFIELDS,
            masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000),
            header_bytes=bitmaps.V5,
        )
        assert seen(data, mode="RGBA") == [(200, 10, 20, 255)] * 4


class TestRunLengths:
    @pytest.mark.parametrize("name", RUNS)
    # The data may begin at an odd place: words are counted from there.
    @pytest.mark.parametrize("padding", [0, 1])
    def test_rows_are_seen_as_they_are(self, name, padding):
        bits, compression, packed = RUNS[name]
        data = bmp((5, 2), bits, packed, compression=compression, palette=PALETTE, padding=padding)
        assert seen(data, 1) == [RED, RED, GREEN, GREEN, GREEN]
        assert seen(data, 0) == [RED, GREEN, BLUE, PALE, RED]

    def test_a_row_and_pixels_that_are_left_out_have_the_first_colour(self):
        packed = bytes((4, 1, 0, 0, 0, 0, 0, 2, 2, 0, 2, 2, 0, 1))
        data = bmp((4, 3), 8, packed, compression=bitmaps.RLE8, palette=PALETTE)
        assert seen(data, 2) == [GREEN] * 4
        assert seen(data, 1) == [RED] * 4
        assert seen(data, 0) == [RED, RED, BLUE, BLUE]

    def test_a_run_beyond_the_row_is_cut(self):
        packed = bytes((9, 1, 0, 0, 4, 2, 0, 1))
        data = bmp(SIZE, 8, packed, compression=bitmaps.RLE8, palette=PALETTE)
        assert (seen(data, 1), seen(data, 0)) == ([GREEN] * 4, [BLUE] * 4)

    def test_one_that_is_cut_short_is_refused(self):
        data = bmp(SIZE, 8, bytes((4, 1, 0, 0, 2, 2)), compression=bitmaps.RLE8, palette=PALETTE)
        with pytest.raises(InvalidImageError):
            develop(data, profile=Profile.LOSSLESS)


class TestRefusedByName:
    @pytest.mark.parametrize(
        ("bits", "compression", "masks", "name"),
        [
            (24, 4, (), "compression JPEG"),
            (24, 5, (), "compression PNG"),
            (24, 11, (), "compression number 11"),
            (64, 0, (), "64 bits"),
            (8, 2, (), "8 bits a pixel and the compression number 2"),
            (32, 3, (0x3FF00000, 0xFFC00, 0x3FF), "masks 3FF00000"),
            (16, 3, (0x5555, 0x3E0, 0x1F), "masks 00005555"),
        ],
    )
    def test_its_kind_is_named(self, bits, compression, masks, name):
        data = bmp(SIZE, bits, bytes(64), compression=compression, masks=masks)
        with pytest.raises(InvalidImageError, match=name):
            develop(data, profile=Profile.LOSSLESS)

    def test_so_is_its_header(self):
        data = bytearray(bmp(SIZE, 24, bytes(24)))
        data[14] = 99
        with pytest.raises(InvalidImageError, match="header of 99 bytes"):
            develop(bytes(data), profile=Profile.LOSSLESS)


class TestProfile:
    @pytest.mark.parametrize("profile", NEW)
    def test_an_embedded_one_stays(self, profile):
        picture = images.photo((96, 64))
        pixels = picture.transpose(images.Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGR")
        icc_profile = images.icc_profile()
        data = bmp((96, 64), 24, pixels, header_bytes=bitmaps.V5, icc_profile=icc_profile)
        stored = develop(data, profile=profile)
        assert images.profile_of(stored.data) == icc_profile
        assert images.profile_of(still(data, LIMITS, 64)) == icc_profile

    def test_one_beyond_the_file_is_refused(self):
        data = bmp(SIZE, 24, bytes(24), header_bytes=bitmaps.V5, icc_profile=grey_profile())
        with pytest.raises(InvalidImageError, match="truncated"):
            develop(data[:-10], profile=Profile.LOSSLESS)
