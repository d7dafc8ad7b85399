"""EXIF blocks: read as far as they make sense, and written with the chosen entries."""

import struct

import pytest
from PIL import Image

from app.imaging.metadata import exif
from app.imaging.metadata.resolution import Resolution
from tests.support import blocks, images
from tests.support.developing import LIMITS, develop
from tests.support.every_case import every_case

LARGE = (320, 240)


class TestBrokenExif:
    @pytest.mark.parametrize("byte_order", ["<", ">"])
    def test_a_block_that_was_written_is_read_again(self, byte_order):
        block = exif.parse(blocks.camera_exif(6, byte_order))
        again = exif.parse(block.copied(3, "mine"))
        assert (again.orientation, again.copyright_notice) == (3, "mine")
        assert again.camera.keys() == block.camera.keys() - {0x927C}
        assert again.gps == block.gps
        assert not again.has_thumbnail

    def test_upright_changes_nothing_else(self):
        block = blocks.camera_exif(6)
        turned = exif.parse(block).upright((64, 48))
        assert exif.parse(turned).orientation == 1
        assert len(turned) == len(block)
        assert exif.parse(turned).gps == exif.parse(block).gps
        assert exif.parse(block).has_thumbnail
        assert not exif.parse(turned).has_thumbnail
        assert exif.parse(turned).upright((64, 48)) == turned

    def test_entries_that_share_their_bytes_take_no_more_memory_than_the_block(self):
        entry = b"\x01\x0e\0\7" + (60_000).to_bytes(4) + (8).to_bytes(4)
        entries = b"".join(number.to_bytes(2) + entry[2:] for number in range(300, 5000))
        block = b"MM\0*\0\0\0\x08" + len(entries).to_bytes(2) + entries
        parsed = exif.parse((block[:8] + (4700).to_bytes(2) + entries).ljust(65_000, b"\0"))
        assert sum(len(each.value) for each in parsed.picture.values()) <= 65_000

    def test_an_entry_that_cannot_be_does_not_hide_those_after_it(self):
        entries = struct.pack(">HHII", 0x010F, 2, 0x7FFFFFFF, 8)
        entries += struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
        block = b"MM\0*\0\0\0\x08\0\2" + entries + bytes(4)
        assert exif.parse(block).orientation == 6

    def test_a_block_of_a_png_may_begin_as_that_of_a_jpeg_does(self):
        block = b"Exif\0\0" + exif.minimal(6, "")
        data = images.png(images.photo(LARGE), private=False, chunks=[(b"eXIf", block)])
        assert develop(data, LIMITS).info.width == LARGE[1]

    def test_a_block_that_is_cut_short_never_raises(self):
        whole = blocks.camera_exif()
        with every_case() as case:
            for cut in range(8, len(whole), 7):
                with case(f"{cut} bytes"):
                    parsed = exif.parse(whole[:cut])
                    assert parsed.copied(1, "") is not None
                    assert len(parsed.upright((64, 48))) == cut
                    dense = parsed.upright((64, 48), resolution=Resolution(300, 150, True))
                    assert exif.parse(dense).picture.keys() >= parsed.picture.keys()
                    parsed.names()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_smallest_exif_block_says_what_it_was_made_to(orientation):
    assert exif.parse(exif.minimal(orientation, "")).orientation == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_from_exif_of_either_byte_order(orientation):
    little = images.exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    big_endian = Image.Exif()
    big_endian.endian = ">"
    big_endian[0x0112] = orientation
    assert exif.parse(little).orientation == orientation
    assert exif.parse(big_endian.tobytes().removeprefix(b"Exif\0\0")).orientation == orientation
