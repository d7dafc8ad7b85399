"""A copyright notice is found wherever it stands, and stays."""

import io
import zlib

import pytest

from app.imaging.containers import jpeg, png
from app.imaging.metadata import exif, iptc
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Metadata
from app.imaging.metadata.xmp import Packet
from tests.support import blocks, images
from tests.support.developing import LIMITS, develop

LARGE = (320, 240)


class TestCopyright:
    def upload(self, **options):
        output = io.BytesIO()
        images.photo(LARGE).save(output, "JPEG", quality=95, **options)
        return output.getvalue()

    def test_it_is_found_in_xmp(self):
        stored = develop(self.upload(xmp=blocks.RIGHTS % "© Ä".encode()), LIMITS)
        assert jpeg.strip(stored.data).metadata.exif.copyright_notice == "© Ä"
        assert stored.info.metadata_removed == ("xmp",)

    def test_it_is_found_in_iptc(self):
        data = self.upload()
        resources = b"Photoshop 3.0\0" + iptc.as_resources(blocks.CITY + blocks.IPTC)
        data = data[:2] + images.segment(0xED, resources) + data[2:]
        stored = develop(data, LIMITS)
        assert images.exif_of(stored.data)[0x8298] == "All mine"
        assert b"Vienna" not in stored.data

    def test_it_is_found_in_a_text_chunk(self):
        data = images.png(chunks=[(b"tEXt", b"Copyright\0All\xa0mine")])
        assert images.exif_of(develop(data, LIMITS).data)[0x8298] == "All mine"

    @pytest.mark.parametrize(
        "packet",
        [
            b"<!DOCTYPE x [<!ENTITY a 'b'>]>rights",
            b"rights <",
            b"rights",
            (blocks.RIGHTS % b"mine").decode().encode("utf-16"),
            (blocks.RIGHTS % b"mine") + b" " * 1_000_000 + b"<!-- -->",
        ],
        ids=["document type", "cut", "no XML", "UTF-16", "huge"],
    )
    def test_a_packet_that_cannot_be_read_names_none(self, packet):
        assert Metadata(xmp=Packet(packet)).copyright_notice() == ""

    @pytest.mark.parametrize(
        "chunk",
        [
            (b"iTXt", b"Copyright\0\0\0en\0\0" + "© é".encode()),
            (b"iTXt", b"Copyright\0\1\0en\0\0" + zlib.compress("© é".encode())),
            (b"zTXt", b"Copyright\0\0" + zlib.compress("© é".encode("latin-1"))),
        ],
        ids=["iTXt", "compressed iTXt", "zTXt"],
    )
    def test_it_is_found_in_every_kind_of_text_chunk(self, chunk):
        stored = develop(images.png(chunks=[chunk]), LIMITS)
        assert png.strip(stored.data).metadata.copyright_notice() == "© é"

    @pytest.mark.parametrize(
        "chunk", [(b"iTXt", b"Copyright\0\1\0"), (b"zTXt", b"Copyright\0\0xx")]
    )
    def test_a_text_chunk_that_cannot_be_read_names_none(self, chunk):
        assert 0x8298 not in images.exif_of(develop(images.png(chunks=[chunk]), LIMITS).data)

    def test_latin_1_is_read_where_it_is_no_utf_8(self):
        assert Datasets(b"\x1c\x02\x74\0\3\xa9 \xe9").copyright_notice == "© é"

    def test_of_several_languages_the_default_one_is_used(self):
        other = b'deutsch</rdf:li><rdf:li xml:lang="x-default">english'
        packet = (blocks.RIGHTS % other).replace(
            b'<rdf:li xml:lang="x-default">deutsch', b"<rdf:li>deutsch"
        )
        assert Packet(b"<!-- a comment -->" + packet).copyright_notice == "english"

    def test_a_blank_one_is_none_and_a_long_one_is_cut(self):
        assert exif.clean_notice(" \0\n ") == ""
        assert len(exif.clean_notice("x" * 5000)) == 1000

    def test_a_file_without_a_place_for_it_has_it_named_as_removed(self):
        images.heic()
        output = io.BytesIO()
        images.photo(LARGE).save(output, "AVIF", xmp=blocks.CREATOR)
        stored = develop(output.getvalue(), LIMITS)
        assert stored.info.metadata_removed == ("copyright", "xmp")
