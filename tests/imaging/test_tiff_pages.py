"""TIFF: damage is what concerns the picture, and pages are pages."""

import struct

import pytest

from app.errors import InvalidImageError
from app.imaging.profiles import Profile
from tests.support import images, tiffs
from tests.support.developing import LIMITS, develop
from tests.support.tiffs import ASCII, BYTE, IFD, LONG, RATIONAL, SHORT, grey, tiff


def lossless(data):
    return develop(data, LIMITS, Profile.LOSSLESS)


ODD_ENTRIES = {
    "two vertical resolutions": {"t283": (RATIONAL, 72, 1, 72, 1)},
    "two resolutions per centimetre": {"t282": (RATIONAL, 1, 1, 1, 1), "t296": (SHORT, 3)},
    "two orientations": {"t274": (SHORT, 1, 1)},
    "two units": {"t296": (SHORT, 2, 2)},
    "a resolution of text": {"t282": (ASCII, *b"300\0")},
    "a maker of numbers": {"t271": (SHORT, 1, 2, 3)},
    "a page of numbers": {"t297": (SHORT, 1, 2, 3)},
    "EXIF that is nowhere": {"t34665": (LONG, 4_000_000_000)},
    "bytes of a program": {"t65000": (BYTE, *range(100))},
}


class TestEntries:
    @pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
    @pytest.mark.parametrize("name", ODD_ENTRIES)
    def test_an_odd_entry_that_is_not_of_the_picture_is_no_damage(self, name, order):
        data = tiff(grey(**ODD_ENTRIES[name]), order=order)
        assert lossless(data).data == lossless(tiff(grey(), order=order)).data

    def test_an_entry_beyond_the_file_is_none_unless_it_is_of_the_picture(self):
        whole = tiff(grey(t305=(ASCII, *b"a program\0"), t325=(LONG, 1, 2)))

        def beyond(tag):
            at = whole.index(struct.pack("<HH", tag, {305: ASCII, 325: LONG}[tag]))
            return whole[: at + 8] + struct.pack("<I", 2**31) + whole[at + 12 :]

        assert lossless(beyond(305)).data == lossless(whole).data
        with pytest.raises(InvalidImageError):
            lossless(beyond(325))

    @pytest.mark.parametrize("kind", [BYTE, SHORT, LONG])
    def test_an_orientation_of_any_type_is_applied(self, kind):
        stored = lossless(tiff(grey(t274=(kind, 6))))
        assert (stored.info.width, stored.info.height) == (48, 64)
        # The upper half is at the right now.
        assert images.pixels(stored.data).convert("L").getpixel((47, 0)) == 100


SMALL = {"size": (16, 12), "value": 200}
BESIDE = {
    "thumbnail": grey(t254=(LONG, 1), **SMALL),
    "thumbnail of a short type": grey(t254=(SHORT, 1), **SMALL),
    "thumbnail of old": grey(t255=(SHORT, 2), **SMALL),
    "mask": grey(t254=(LONG, 4), **SMALL),
    "mask of an overview": grey(t254=(LONG, 5), **SMALL),
    "EXIF's thumbnail": {513: (LONG, 8), 514: (LONG, 4), 259: (SHORT, 6)},
}


class TestPages:
    @pytest.mark.parametrize("name", BESIDE)
    def test_what_stands_beside_a_page_is_none(self, name):
        for data in (tiff(grey(), BESIDE[name]), tiff(BESIDE[name], grey(), BESIDE[name])):
            stored = lossless(data)
            assert stored.data == lossless(tiff(grey())).data
            assert "thumbnail" in stored.info.metadata_removed

    def test_pages_are_counted_without_what_stands_beside_them(self):
        pages = [grey(t254=(LONG, 2)), BESIDE["thumbnail"]] * 3
        with pytest.raises(InvalidImageError, match="has 3 pages"):
            lossless(tiff(*pages))

    def test_a_lone_picture_is_the_page_whatever_it_is_called(self):
        data = tiff(grey(t254=(LONG, 1)))
        assert lossless(data).data == lossless(tiff(grey())).data

    def test_a_thumbnail_whose_picture_is_a_raw_one_is_refused(self):
        data = tiff(grey(t254=(LONG, 1)) | {tiffs.SUB_DIRECTORIES: (IFD, 8)})
        with pytest.raises(InvalidImageError, match="raw"):
            lossless(data)

    @pytest.mark.parametrize("count", [1_001, 2], ids=["many", "large"])
    def test_more_directories_than_any_picture_has_are_refused(self, count):
        size = 65_535 if count == 2 else 1
        entry = struct.pack("<HHII", 305, 1, 1, 0)
        step = 2 + size * 12 + 4
        places = [8 + number * step for number in range(count)]
        data = b"II*\0" + struct.pack("<I", 8)
        for following in (*places[1:], 0):
            data += struct.pack("<H", size) + entry * size + struct.pack("<I", following)
        with pytest.raises(InvalidImageError, match="directories"):
            lossless(data)
