"""TIFF of every kind: seen as its entries say, or refused by the name of its kind."""

import struct

import pytest

from app.errors import InvalidImageError
from app.imaging.profiles import Profile
from app.imaging.variants import still
from tests.support import images
from tests.support.developing import LIMITS, develop
from tests.support.tiffs import SIZE, of_planes, rows

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
NEW = [Profile.LOSSLESS, Profile.BALANCED, Profile.SMALL]
ORDERS = ["<", ">"]


def halves(data, profile=Profile.LOSSLESS, mode="RGB"):
    """The pixels in the middle of the left and right half, scaled to 8 bits."""
    picture = images.pixels(develop(data, profile=profile).data)
    return [scaled(picture, at, mode) for at in (SIZE[0] // 4, SIZE[0] * 3 // 4)]


def scaled(picture, x, mode):
    if picture.mode == "I;16":
        return (picture.getpixel((x, 1)) >> 8,) * 3
    return picture.convert(mode).getpixel((x, 1))


class TestWhiteIsZero:
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("profile", NEW)
    def test_grey_of_16_bits_is_no_negative(self, order, profile):
        samples = rows(struct.pack(f"{order}H", 0), struct.pack(f"{order}H", 0xC000))
        data = of_planes(SIZE, (16,), WHITE_IS_ZERO, [samples], order)
        assert halves(data, profile) == [(255,) * 3, (63,) * 3]

    @pytest.mark.parametrize("order", ORDERS)
    def test_nor_is_a_still_of_it(self, order):
        samples = rows(struct.pack(f"{order}H", 0), struct.pack(f"{order}H", 0xFFFF))
        data = of_planes(SIZE, (16,), WHITE_IS_ZERO, [samples], order)
        picture = images.pixels(still(data, LIMITS, 32)).convert("L")
        assert picture.getpixel((8, 1)) > 240
        assert picture.getpixel((24, 1)) < 15

    @pytest.mark.parametrize(("bits", "white", "dark"), [(1, 0, 255), (4, 0, 0xDD), (8, 0, 0xDD)])
    @pytest.mark.parametrize("fill_order", [1, 2])
    def test_nor_is_any_other_grey(self, bits, white, dark, fill_order):
        if fill_order == 2:
            dark = int(f"{dark:08b}"[::-1], 2)
        pair = bytes((white,)), bytes((dark,))
        width = SIZE[0] * bits // 8
        samples = rows(*pair, size=(width, SIZE[1]))
        data = of_planes(SIZE, (bits,), WHITE_IS_ZERO, [samples], tag_266=(fill_order,))
        seen = 0 if bits == 1 else 0x22
        assert halves(data) == [(255,) * 3, (seen,) * 3]

    @pytest.mark.parametrize("order", ORDERS)
    def test_deep_grey_whose_zero_is_black_stays(self, order):
        samples = rows(struct.pack(f"{order}H", 0), struct.pack(f"{order}H", 0xC000))
        data = of_planes(SIZE, (16,), BLACK_IS_ZERO, [samples], order)
        assert halves(data) == [(0,) * 3, (0xC0,) * 3]


class TestPalette:
    @pytest.mark.parametrize("factor", [1, 257])
    @pytest.mark.parametrize("bits", [4, 8])
    def test_a_colour_map_of_either_depth_has_its_colours(self, factor, bits):
        count = 1 << bits
        red, green, blue = ([0] * count for _ in range(3))
        red[0], green[1], blue[1] = 200, 100, 50
        colour_map = tuple(value * factor for value in (*red, *green, *blue))
        width = SIZE[0] * bits // 8
        samples = rows(b"\0", b"\1" if bits == 8 else b"\x11", size=(width, SIZE[1]))
        data = of_planes(SIZE, (bits,), PALETTE, [samples], tag_320=colour_map)
        assert halves(data) == [(200, 0, 0), (0, 100, 50)]


class TestPlanes:
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_colours_in_planes(self, order, bits, orientation):
        form = f"{order}{'H' if bits == 16 else 'B'}"
        factor = 257 if bits == 16 else 1
        shades = [(200, 10), (20, 110), (30, 210)]
        planes = [rows(*(struct.pack(form, each * factor) for each in pair)) for pair in shades]
        data = of_planes(SIZE, (bits,) * 3, RGB, planes, order, tag_274=(orientation,))
        picture = images.pixels(develop(data, profile=Profile.BALANCED).data).convert("RGB")
        assert picture.size == (SIZE if orientation < 5 else SIZE[::-1])
        first = picture.getpixel((0, 0))
        mirrored = orientation in {2, 3, 7, 8}
        expected = (10, 110, 210) if mirrored else (200, 20, 30)
        assert first == pytest.approx(expected, abs=12)


class TestAlpha:
    @pytest.mark.parametrize(("kind", "red"), [(1, 100), (2, 200)])
    def test_colours_that_are_multiplied_with_it_or_not(self, kind, red):
        samples = rows(bytes((red, 0, 0, 128)), bytes((0, 0, 0, 0)))
        data = of_planes(SIZE, (8,) * 4, RGB, [samples], tag_338=(kind,))
        left, right = halves(data, mode="RGBA")
        assert left == pytest.approx((200, 0, 0, 128), abs=1)
        assert right[3] == 0

    @pytest.mark.parametrize(("kind", "shade"), [(1, 100), (2, 200)])
    def test_so_for_grey(self, kind, shade):
        samples = rows(bytes((shade, 128)), bytes((0, 0)))
        data = of_planes(SIZE, (8,) * 2, BLACK_IS_ZERO, [samples], tag_338=(kind,))
        left, right = halves(data, mode="LA")
        assert left == pytest.approx((200, 128), abs=1)
        assert right[1] == 0

    def test_an_extra_sample_that_means_nothing_hides_nothing(self):
        samples = rows(bytes((200, 0, 0, 9)), bytes((0, 100, 0, 0)))
        data = of_planes(SIZE, (8,) * 4, RGB, [samples], tag_338=(0,))
        assert halves(data, mode="RGBA") == [(200, 0, 0, 255), (0, 100, 0, 255)]


class TestRefusedByName:
    @pytest.mark.parametrize(
        ("bits", "photometric", "more", "name"),
        [
            ((8,), BLACK_IS_ZERO, {"tag_339": (2,)}, "sample format 2"),
            ((32,), BLACK_IS_ZERO, {"tag_339": (3,)}, "sample format 3"),
            ((12,), BLACK_IS_ZERO, {}, "12 bits a sample"),
            ((5, 6, 5), RGB, {}, "5, 6, 5 bits a sample"),
            ((16, 16, 16), 8, {}, "16, 16, 16 bits a sample"),
            ((8,), 32803, {}, "photometric interpretation 32803"),
            ((8,), None, {}, "no photometric interpretation"),
            ((8,) * 4, CMYK, {"tag_332": (2,)}, "ink set 2"),
            ((8,) * 4, CMYK, {"tag_336": (10, 240)}, "dot range"),
            ((8,), BLACK_IS_ZERO, {"tag_433": (0, 0)}, "decode array"),
            ((8,), BLACK_IS_ZERO, {"tag_259": (34712,)}, "compression number 34712"),
        ],
    )
    def test_its_kind_is_named(self, bits, photometric, more, name):
        data = of_planes(SIZE, bits, photometric, [bytes(4096)], **more)
        with pytest.raises(InvalidImageError, match=name):
            develop(data, profile=Profile.BALANCED)
