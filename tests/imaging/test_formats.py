"""The first bytes of each format, and the words of a refusal."""

import pytest

from app.errors import EmptyBodyError, UnsupportedFormatError
from app.imaging.formats import ImageFormat, sniff
from tests.support import images
from tests.support.developing import LIMITS, develop


@pytest.mark.parametrize(
    ("data", "image_format"),
    [
        (images.jpeg(), ImageFormat.JPEG),
        (images.png(), ImageFormat.PNG),
        (images.webp(), ImageFormat.WEBP),
        (images.gif(), ImageFormat.GIF),
        (b"\0\0\0\x1cftypavif\0\0\0\0", ImageFormat.AVIF),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmiaf", ImageFormat.AVIF),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ImageFormat.HEIC),
        *(
            (b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0", ImageFormat.HEIC)
            for brand in (b"heix", b"hevc", b"mif1", b"mif2", b"mif3", b"msf1")
        ),
        (b"\0\0\0\x1cftypMiHE\0\0\0\0miafmif1", ImageFormat.HEIC),
        (b"\0\0\0\x18ftypmif3\0\0\0\0avif", ImageFormat.AVIF),
        (b"II*\0\x08\0\0\0", ImageFormat.TIFF),
        (b"MM\0*\0\0\0\x08", ImageFormat.TIFF),
        (images.bmp(), ImageFormat.BMP),
    ],
)
def test_each_accepted_format_is_known_by_its_first_bytes(data, image_format):
    assert sniff(data[:24]) is image_format


def test_formats_name_their_content_type_and_extension():
    assert [(f.content_type, f.extension) for f in ImageFormat] == [
        ("image/jpeg", ".jpg"),
        ("image/png", ".png"),
        ("image/webp", ".webp"),
        ("image/gif", ".gif"),
        ("image/avif", ".avif"),
        ("image/heic", ".heic"),
        ("image/tiff", ".tif"),
        ("image/bmp", ".bmp"),
    ]


def test_an_empty_file_is_called_empty():
    with pytest.raises(EmptyBodyError, match="The file is empty"):
        sniff(b"")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "video"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera's raw file"),
        (b"II+\0\x08\0\0\0", "BigTIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
        (b"<svg width='1'>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\1\0\2\0", "ICO"),
        (b"\0\0\2\0\0\0", "no known image format"),
        (b"P6\n640", "PNM"),
        (b"8BPS\0\1", "PSD"),
        (b"hello", "no known image format"),
        (b"\xff\xd8", "no known image format"),
    ],
)
def test_a_refused_format_is_named_along_with_what_is_accepted(head, name):
    with pytest.raises(UnsupportedFormatError) as refusal:
        sniff(head)
    assert f"looks like {name}." in refusal.value.detail
    assert "JPEG, PNG, WebP, GIF" in refusal.value.detail


@pytest.mark.parametrize("header_bytes", [12, 16, 40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("reserved", [b"\0\0\0\0", b"\0\0\1\0", b"\xff\xff\xff\xff"])
def test_a_bmp_is_known_by_its_header_whatever_programs_reserve(header_bytes, reserved):
    head = b"BM" + bytes(4) + reserved + bytes(4) + header_bytes.to_bytes(4, "little")
    assert sniff(head) is ImageFormat.BMP


def test_a_text_that_begins_as_a_bmp_is_none():
    with pytest.raises(UnsupportedFormatError, match="no known image format"):
        sniff(b"BMW is a maker of cars and motorcycles.")


def test_a_bmp_with_reserved_fields_is_stored_as_the_same_picture():
    data = images.bmp()
    marked = data[:6] + b"SECR" + data[10:]
    assert develop(marked, LIMITS).data == develop(data, LIMITS).data
