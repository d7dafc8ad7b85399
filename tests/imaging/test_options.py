"""What becomes of metadata under each option, and what the receipt says of it."""

import io
import struct
import zlib

import pytest
from PIL import Image

from app.errors import ImageLimitError
from app.imaging.containers import heif, jpeg, png
from app.imaging.limits import ImageLimits
from app.imaging.metadata import exif, iptc
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Metadata, MetadataOption
from app.imaging.metadata.xmp import Packet
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import LIMITS, develop, served

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


def with_metadata(format_name, orientation=6, mode="RGB"):
    """A picture in this format with all that a camera writes; a thumbnail with GPS of its own."""
    block = images.camera_exif(orientation)
    output = io.BytesIO()
    xmp = packet(b'<rdf:Description tiff:Model="SECRET-XMP" drone-dji:Latitude="SECRET-GPS"/>')
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
        assert set(stored.info.metadata_removed) == {
            *("comment", "exif", "gps", "maker-note", "xmp"),
            *thumbnail,
        }

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
        assert b'tiff:Model="SECRET-XMP"' in file
        thumbnail = {"thumbnail"} if b"SECRET-THUMBNAIL" in upload else set()
        assert set(stored.info.metadata_removed) == {
            *("comment", "gps", "maker-note", "xmp-partly"),
            *thumbnail,
        }

    def test_keep_leaves_everything(self, upload, profile):
        stored = develop(upload, LIMITS, profile, metadata=MetadataOption.KEEP)
        file = served(stored)
        assert all(place in file for place in PLACE)
        assert b"SECRET-MAKER-NOTE" in file
        assert b"SECRET-XMP" in file
        assert set(stored.info.metadata_removed) <= {"thumbnail"}

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
        assert jpeg.strip(stored.data).metadata.exif.copyright_notice == "© Ä"
        assert stored.info.metadata_removed == ("xmp",)

    def test_it_is_taken_from_iptc(self):
        data = self.upload()
        resources = b"Photoshop 3.0\0" + iptc.as_resources(CITY + IPTC)
        data = data[:2] + images.segment(0xED, resources) + data[2:]
        stored = develop(data, LIMITS)
        assert exif_of(stored.data)[0x8298] == "All mine"
        assert b"Vienna" not in stored.data

    def test_it_is_taken_from_a_text_chunk(self):
        data = images.png(chunks=[(b"tEXt", b"Copyright\0All\xa0mine")])
        assert exif_of(develop(data, LIMITS).data)[0x8298] == "All mine"

    @pytest.mark.parametrize(
        "packet",
        [
            b"<!DOCTYPE x [<!ENTITY a 'b'>]>rights",
            b"rights <",
            b"rights",
            (RIGHTS % b"mine").decode().encode("utf-16"),
            (RIGHTS % b"mine") + b" " * 1_000_000 + b"<!-- -->",
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
    def test_it_is_taken_from_every_kind_of_text_chunk(self, chunk):
        stored = develop(images.png(chunks=[chunk]), LIMITS)
        assert png.strip(stored.data).metadata.copyright_notice() == "© é"

    @pytest.mark.parametrize(
        "chunk", [(b"iTXt", b"Copyright\0\1\0"), (b"zTXt", b"Copyright\0\0xx")]
    )
    def test_a_text_chunk_that_cannot_be_read_names_none(self, chunk):
        assert 0x8298 not in exif_of(develop(images.png(chunks=[chunk]), LIMITS).data)

    def test_latin_1_is_read_where_it_is_no_utf_8(self):
        assert Datasets(b"\x1c\x02\x74\0\3\xa9 \xe9").copyright_notice == "© é"

    def test_of_several_languages_the_default_one_is_taken(self):
        other = b'deutsch</rdf:li><rdf:li xml:lang="x-default">english'
        packet = (RIGHTS % other).replace(
            b'<rdf:li xml:lang="x-default">deutsch', b"<rdf:li>deutsch"
        )
        assert Packet(b"<!-- a comment -->" + packet).copyright_notice == "english"

    def test_a_blank_one_is_none_and_a_long_one_is_cut(self):
        assert exif.clean_notice(" \0\n ") == ""
        assert len(exif.clean_notice("x" * 5000)) == 1000

    def test_what_has_no_place_for_it_says_that_it_is_gone(self):
        images.heic()
        output = io.BytesIO()
        images.photo(LARGE).save(output, "AVIF", xmp=CREATOR)
        stored = develop(output.getvalue(), LIMITS)
        assert stored.info.metadata_removed == ("copyright", "xmp")


def packet(properties):
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        b' xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        b' xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"'
        b' xmlns:GImage="http://ns.google.com/photos/1.0/image/">%s</rdf:RDF></x:xmpmeta>'
        % properties
    )


PLACES = [
    b'<rdf:Description exif:GPSLatitude="48,SECRET"/>',
    b'<rdf:Description drone-dji:Latitude="SECRET"/>',
    b'<rdf:Description GImage:Data="SECRET"/>',
    *(
        b"<rdf:Description>%s</rdf:Description>" % inner
        for inner in (
            b"<photoshop:City>SECRET</photoshop:City>",
            b'<City xmlns="http://ns.adobe.com/photoshop/1.0/">SECRET</City>',
            b"<dc:subject><rdf:Bag><rdf:li>SECRET</rdf:li></rdf:Bag></dc:subject>",
            b'<dc:title><rdf:li exif:GPSLatitude="SECRET"/></dc:title>',
            b"<dc:title><photoshop:City>SECRET</photoshop:City></dc:title>",
        )
    ),
]


class TestStripGps:
    @pytest.mark.parametrize("place", PLACES)
    def test_properties_that_may_name_a_place_go_and_the_others_stay(self, place):
        kept = b'<rdf:Description tiff:Model="X1" exif:FNumber="28/10"/>'
        chosen = Metadata(xmp=Packet(packet(place + kept))).chosen(
            MetadataOption.STRIP_GPS, 1, (8, 8)
        )
        assert b"SECRET" not in chosen.xmp
        assert b'tiff:Model="X1"' in chosen.xmp
        assert b'exif:FNumber="28/10"' in chosen.xmp

    @pytest.mark.parametrize("place", PLACES)
    def test_a_packet_of_nothing_else_goes(self, place):
        assert (
            Metadata(xmp=Packet(packet(place))).chosen(MetadataOption.STRIP_GPS, 1, (8, 8)).xmp
            == b""
        )

    @pytest.mark.parametrize(
        "unread", [b"GPS", packet(b"").decode().encode("utf-16"), b"<a/>", packet(b"")[:-9]]
    )
    def test_a_packet_that_cannot_be_read_goes(self, unread):
        assert Metadata(xmp=Packet(unread)).chosen(MetadataOption.STRIP_GPS, 1, (8, 8)).xmp == b""

    @pytest.mark.parametrize("option", [MetadataOption.STRIP_GPS, MetadataOption.KEEP])
    def test_a_picture_that_was_turned_is_not_turned_again(self, option):
        turned = packet(b'<rdf:Description tiff:Orientation="6"/>')
        assert b'tiff:Orientation="1"' in Metadata(xmp=Packet(turned)).chosen(option, 1, (8, 8)).xmp
        assert b'tiff:Orientation="6"' in Metadata(xmp=Packet(turned)).chosen(option, 6, (8, 8)).xmp

    @pytest.mark.parametrize(
        "place",
        [
            CITY,
            b"\x1c\x02\x19\0\6Vienna",
            b"\x1c\x02\x5a\x80\x04\0\0\0\6Vienna",
            b"\x1c\x02\xca\0\6Vienna",
            b"\x1c\x08\x0a\0\6Vienna",
        ],
        ids=["city", "keyword", "city of extended length", "preview", "object data"],
    )
    def test_datasets_that_name_a_place_or_hold_a_picture_go_and_the_others_stay(self, place):
        chosen = Metadata(iptc=Datasets(IPTC + place)).chosen(MetadataOption.STRIP_GPS, 1, (8, 8))
        assert chosen.iptc == IPTC

    def test_iptc_that_stays_is_found_again(self):
        assert iptc.of_resources(iptc.as_resources(IPTC)) == IPTC
        other = b"8BIM\x04\x0c\0\0\0\0\0\2xx"
        assert iptc.of_resources(other + iptc.as_resources(IPTC)) == IPTC

    def test_a_comment_of_the_user_goes(self):
        block = exif.parse(images.camera_exif()).copied(1, "", location=False)
        assert b"SECRET-COMMENT" not in block


def test_what_goes_from_a_jpeg_is_named():
    thumbnail = b"8BIM\x04\x0c\0\0\0\0\0\2xx"
    resources = b"Photoshop 3.0\0" + thumbnail + iptc.as_resources(IPTC)
    extension = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)
    data = images.jpeg(images.photo(LARGE), private=False)
    data = data[:2] + images.segment(0xED, resources) + images.segment(0xE1, extension) + data[2:]
    stored = develop(data, LIMITS, metadata=MetadataOption.KEEP)
    assert stored.info.metadata_removed == ("extended-xmp", "photoshop")
    assert develop(data, LIMITS).info.metadata_removed == ("extended-xmp", "iptc", "photoshop")


def test_what_goes_in_part_is_named():
    place = packet(b'<rdf:Description exif:GPSLatitude="48,8N" tiff:Model="X1"/>')
    left = Metadata(xmp=Packet(place), iptc=Datasets(IPTC + CITY))
    chosen = left.chosen(MetadataOption.STRIP_GPS, 1, (8, 8))
    assert left.removed(Metadata.of(chosen)) == {"gps", "xmp-partly", "iptc-partly"}
    assert left.removed(left) == set()
    assert left.removed(Metadata()) == {"copyright", "gps", "iptc", "xmp"}


def test_the_orientation_of_an_avif_is_said_once():
    data = images.avif(images.photo(LARGE), orientation=6)
    stored = develop(data, LIMITS, Profile.ORIGINAL, metadata=MetadataOption.STRIP_GPS)
    assert heif.strip(stored.data).metadata.exif.orientation == 1


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

    @pytest.mark.parametrize("cut", range(8, len(images.camera_exif()), 7))
    def test_a_block_that_is_cut_short_never_raises(self, cut):
        block = images.camera_exif()[:cut]
        parsed = exif.parse(block)
        assert parsed.copied(1, "") is not None
        assert len(exif.parse(block).upright((64, 48))) == len(block)
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
        assert develop(data, LIMITS).info.width == 96
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
        assert develop(images.jpeg() + bytes(20_000_000), LIMITS).info.width == 96


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
