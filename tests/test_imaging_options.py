"""What becomes of metadata under each option, and what the receipt says of it."""

import io

import pytest
from PIL import Image

from app.errors import ImageLimitError
from app.imaging import exif, jpeg
from app.imaging.limits import ImageLimits
from app.imaging.metadata import Metadata, MetadataOption, as_resources, iptc_of
from app.imaging.profiles import Profile
from tests import images
from tests.developing import LIMITS, develop, served

LARGE = (320, 240)
PLACE = (b"SECRET-GPS", bytes.fromhex("0000002b00000001"))
"""What the GPS directory holds, and 43 degrees north as it writes them."""

RIGHTS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights><rdf:Alt>'
    b'<rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:rights></rdf:Description></rdf:RDF>'
    b"</x:xmpmeta>"
)
CREATOR = RIGHTS % b"All mine" + b" " * 100
IPTC = b"\x1c\x02\x74\x00\x08All mine"
CITY = b"\x1c\x02\x5a\x00\x06Vienna"


def with_metadata(format_name, orientation=6, mode="RGB", xmp=images.XMP):
    """A picture in this format with all that a camera writes; a thumbnail with GPS of its own."""
    block = images.camera_exif(orientation)
    output = io.BytesIO()
    picture = images.photo(LARGE, mode, noise=8)
    options = {"exif": b"Exif\0\0" + block} if format_name in {"JPEG", "WEBP"} else {"exif": block}
    if format_name == "JPEG":
        options |= {"quality": 95}
    if format_name not in {"PNG", "TIFF"}:
        options |= {"xmp": xmp}
    picture.save(output, format_name, icc_profile=images.icc_profile(), **options)
    data = output.getvalue()
    if format_name == "PNG":
        data = images.with_chunks(data, [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)])
    return data


def exif_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif()


FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"]


@pytest.fixture(scope="module", params=FORMATS)
def upload(request):
    images.heic()  # registers HEIF
    return with_metadata(request.param, orientation=1 if request.param == "HEIF" else 6)


@pytest.mark.parametrize("profile", list(Profile))
class TestEveryProfile:
    def test_strip_leaves_the_copyright_notice_and_nothing_else(self, upload, profile):
        stored = develop(upload, LIMITS, profile)
        file = served(stored)
        assert not any(secret in file for secret in (*images.SECRETS, *PLACE))
        assert exif_of(file)[0x8298] == images.NOTICE
        assert set(exif_of(file)) <= {0x0112, 0x8298}
        thumbnail = {"thumbnail"} if b"SECRET-THUMBNAIL" in upload else set()
        assert set(stored.metadata_removed) == {"exif", "gps", "maker-note", "xmp"} | thumbnail

    def test_strip_gps_leaves_what_the_camera_knew_but_not_where_it_was(self, upload, profile):
        stored = develop(upload, LIMITS, profile, metadata=MetadataOption.STRIP_GPS)
        file = served(stored)
        assert not any(place in file for place in PLACE)
        assert b"SECRET-MAKER-NOTE" not in file
        kept = exif_of(file)
        assert kept[0x010F] == "SECRET-MAKER"
        assert kept.get_ifd(0x8769)[0x9003] == "2026:11:25 12:00:00"
        assert kept[0x8298] == images.NOTICE
        assert not kept.get_ifd(0x8825)
        assert b"SECRET-XMP" in file
        thumbnail = {"thumbnail"} if b"SECRET-THUMBNAIL" in upload else set()
        assert set(stored.metadata_removed) == {"gps", "maker-note"} | thumbnail

    def test_keep_leaves_everything(self, upload, profile):
        stored = develop(upload, LIMITS, profile, metadata=MetadataOption.KEEP)
        file = served(stored)
        assert all(place in file for place in PLACE)
        assert b"SECRET-MAKER-NOTE" in file
        assert b"SECRET-XMP" in file
        assert set(stored.metadata_removed) <= {"thumbnail"}

    @pytest.mark.parametrize("metadata", list(MetadataOption))
    def test_the_picture_is_seen_upright_all_the_same(self, upload, profile, metadata):
        file = served(develop(upload, LIMITS, profile, metadata=metadata))
        before, after = images.pixels(upload), images.pixels(file)
        assert after.size == before.size
        assert images.distance(before.convert("RGB"), after.convert("RGB")) < 8


@pytest.mark.parametrize("metadata", list(MetadataOption))
@pytest.mark.parametrize("profile", [Profile.LOSSLESS, Profile.BALANCED])
def test_a_tiff_keeps_what_is_asked_for_in_its_new_format(profile, metadata):
    block = exif.parse(images.camera_exif(1))
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + block.copied(6, images.NOTICE))
    output = io.BytesIO()
    images.photo(LARGE, noise=8).save(output, "TIFF", exif=tags)
    stored = develop(output.getvalue(), LIMITS, profile, metadata=metadata)
    kept = exif_of(stored.data)
    assert kept[0x8298] == images.NOTICE
    assert kept.get(0x0112, 1) == 1
    assert (0x010F in kept) == (metadata is not MetadataOption.STRIP)
    assert bool(kept.get_ifd(0x8825)) == (metadata is MetadataOption.KEEP)
    assert images.pixels(stored.data).size == (240, 320)


class TestCopyright:
    def upload(self, **options):
        output = io.BytesIO()
        images.photo(LARGE).save(output, "JPEG", quality=95, **options)
        return output.getvalue()

    def test_it_is_taken_from_xmp(self):
        stored = develop(self.upload(xmp=RIGHTS % "© Ä".encode()), LIMITS)
        assert exif.parse(jpeg.strip(stored.data).metadata.exif).copyright_notice == "© Ä"
        assert stored.metadata_removed == ("xmp",)

    def test_it_is_taken_from_iptc(self):
        data = self.upload()
        resources = b"Photoshop 3.0\0" + as_resources(CITY + IPTC)
        data = data[:2] + images.segment(0xED, resources) + data[2:]
        stored = develop(data, LIMITS)
        assert exif_of(stored.data)[0x8298] == "All mine"
        assert b"Vienna" not in stored.data

    def test_it_is_taken_from_a_text_chunk(self):
        data = images.png(chunks=[(b"tEXt", b"Copyright\0All\xa0mine")])
        assert exif_of(develop(data, LIMITS).data)[0x8298] == "All mine"

    @pytest.mark.parametrize(
        "xmp", [b"<!DOCTYPE x [<!ENTITY a 'b'>]>rights", b"rights <", b"rights"]
    )
    def test_a_packet_that_cannot_be_read_names_none(self, xmp):
        assert Metadata(xmp=xmp).copyright_notice() == ""

    def test_a_blank_one_is_none_and_a_long_one_is_cut(self):
        assert exif.clean_notice(" \0\n ") == ""
        assert len(exif.clean_notice("x" * 5000)) == 1000

    def test_what_has_no_place_for_it_says_that_it_is_gone(self):
        images.heic()
        output = io.BytesIO()
        images.photo(LARGE).save(output, "AVIF", xmp=CREATOR)
        stored = develop(output.getvalue(), LIMITS)
        assert stored.metadata_removed == ("copyright", "xmp")


class TestStripGps:
    @pytest.mark.parametrize(
        "xmp",
        [
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a exif:GPSLatitude="43,28N"/></x:xmpmeta>',
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a photoshop:City="Vienna"/></x:xmpmeta>',
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><Iptc4xmpExt:LocationShown/></x:xmpmeta>',
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><xmpGImg:image>/9j</xmpGImg:image></x:xmpmeta>',
            "<x:xmpmeta>GPS</x:xmpmeta>".encode("utf-16-le"),
        ],
    )
    def test_a_packet_that_names_a_place_or_holds_a_preview_goes(self, xmp):
        chosen = Metadata(xmp=xmp).chosen(MetadataOption.STRIP_GPS, 1, (8, 8))
        assert chosen.xmp == b""

    def test_iptc_goes_where_it_names_a_place_and_stays_otherwise(self):
        def chosen(iptc):
            return Metadata(iptc=iptc).chosen(MetadataOption.STRIP_GPS, 1, (8, 8)).iptc

        assert chosen(IPTC) == IPTC
        assert chosen(IPTC + CITY) == b""

    def test_iptc_that_stays_is_found_again(self):
        assert iptc_of(as_resources(IPTC)) == IPTC
        assert iptc_of(b"8BIM\x04\x0c\0\0\0\0\0\2xx" + as_resources(IPTC)) == IPTC


@pytest.mark.parametrize("metadata", [MetadataOption.KEEP, MetadataOption.STRIP_GPS])
def test_the_size_that_exif_says_is_that_of_the_picture(metadata):
    output = io.BytesIO()
    picture = images.photo((2400, 1200), noise=8)
    picture.save(output, "JPEG", exif=b"Exif\0\0" + images.camera_exif(6, size=(2400, 1200)))
    for profile, size in ((Profile.ORIGINAL, (2400, 1200)), (Profile.SMALL, (1024, 2048))):
        stored = develop(output.getvalue(), LIMITS, profile, metadata=metadata)
        camera = exif_of(stored.data).get_ifd(0x8769)
        assert (camera[0xA002], camera[0xA003]) == size


class TestBrokenExif:
    @pytest.mark.parametrize("byte_order", ["<", ">"])
    def test_a_block_that_was_written_is_read_again(self, byte_order):
        block = exif.parse(images.camera_exif(6, byte_order))
        again = exif.parse(block.copied(3, "mine"))
        assert (again.orientation, again.copyright_notice) == (3, "mine")
        assert again.camera.keys() == block.camera.keys() - {0x927C}
        assert again.gps == block.gps
        assert not again.has_thumbnail

    def test_upright_changes_nothing_else(self):
        block = images.camera_exif(6)
        turned = exif.upright(block, (64, 48))
        assert exif.parse(turned).orientation == 1
        assert len(turned) == len(block)
        assert exif.parse(turned).gps == exif.parse(block).gps
        assert exif.parse(block).has_thumbnail
        assert not exif.parse(turned).has_thumbnail
        assert exif.upright(turned, (64, 48)) == turned

    def test_entries_that_share_their_bytes_take_no_more_memory_than_the_block(self):
        entry = b"\x01\x0e\0\7" + (60_000).to_bytes(4) + (8).to_bytes(4)
        entries = b"".join(number.to_bytes(2) + entry[2:] for number in range(300, 5000))
        block = b"MM\0*\0\0\0\x08" + len(entries).to_bytes(2) + entries
        parsed = exif.parse((block[:8] + (4700).to_bytes(2) + entries).ljust(65_000, b"\0"))
        assert sum(len(each.value) for each in parsed.picture.values()) <= 65_000

    @pytest.mark.parametrize("cut", range(8, len(images.camera_exif()), 7))
    def test_a_block_that_is_cut_short_never_raises(self, cut):
        block = images.camera_exif()[:cut]
        parsed = exif.parse(block)
        assert parsed.copied(1, "") is not None
        assert len(exif.upright(block, (64, 48))) == len(block)
        parsed.names()


def test_a_png_whose_metadata_is_damaged_is_kept_with_it_all_the_same():
    data = images.png(images.photo(LARGE))
    at = data.index(b"SECRET-COMMENT")
    data = data[:at] + b"?" + data[at + 1 :]
    kept = develop(data, LIMITS, Profile.LOSSLESS, metadata=MetadataOption.KEEP)
    assert kept.data == data


class TestLimit:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: _with_segment(images.jpeg(private=False), b"x" * 60_000),
            lambda: _with_icc_chunk(images.webp(private=False, icc=False), 60_000),
            lambda: images.png(chunks=[(b"tEXt", b"a\0" + b"x" * 60_000)]),
            lambda: _with_comment(images.gif(private=False), 240),
        ],
        ids=["JPEG comment", "WebP profile", "PNG text", "GIF comment"],
    )
    def test_more_metadata_than_the_limit_is_refused_before_it_is_decoded(self, make):
        data = make()
        assert develop(data, LIMITS).width == 96
        with pytest.raises(ImageLimitError, match=r"bytes of metadata; 50,000 are allowed"):
            develop(data, ImageLimits(max_metadata_bytes=50_000))

    def test_a_profile_of_80_megabytes_is_refused(self):
        data = images.png(icc=False, private=False, chunks=[(b"iCCP", bytes(80_000_000))])
        with pytest.raises(ImageLimitError, match="80,000,000"):
            develop(data, LIMITS)

    def test_a_text_of_80_megabytes_is_refused(self):
        data = images.png(icc=False, private=False, chunks=[(b"tEXt", b"a\0" + bytes(80_000_000))])
        with pytest.raises(ImageLimitError, match="80,000,002"):
            develop(data, LIMITS)

    def test_what_follows_a_picture_is_no_metadata(self):
        assert develop(images.jpeg() + bytes(20_000_000), LIMITS).width == 96


def _with_segment(data, comment):
    return data[:2] + images.segment(0xFE, comment) + data[2:]


def _with_comment(data, blocks):
    return data[:-1] + b"!\xfe" + (b"\xff" + b"x" * 255) * blocks + b"\0;"


def _with_icc_chunk(data, length):
    """Return a lossy WebP in the extended layout with a colour profile of so many bytes."""
    body = data[12:]
    header = b"VP8X" + (10).to_bytes(4, "little") + b"\x20\0\0\0"
    header += (95).to_bytes(3, "little") + (63).to_bytes(3, "little")
    body = header + b"ICCP" + length.to_bytes(4, "little") + bytes(length) + body
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
