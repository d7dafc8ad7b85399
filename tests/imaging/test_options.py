"""Metadata under each option, and its names in the receipt."""

import functools
import itertools

import pytest
from PIL import Image

from app.imaging.containers import heif
from app.imaging.metadata import exif, iptc
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Metadata, MetadataOption
from app.imaging.metadata.xmp import Packet
from app.imaging.profiles import Profile
from tests.support import blocks, images
from tests.support.developing import LIMITS, develop, served
from tests.support.every_case import every_case

LARGE = (320, 240)
# A value of the GPS directory, and 43 degrees north as it is written there.
PLACE = (b"SECRET-GPS", bytes.fromhex("0000002b00000001"))


def with_metadata(format_name, orientation=6, mode="RGB"):
    """A picture in this format with the metadata of a camera; its thumbnail has GPS too."""
    block = blocks.camera_exif(orientation)
    xmp = blocks.packet(
        b'<rdf:Description tiff:Model="SECRET-XMP" drone-dji:Latitude="SECRET-GPS"/>'
    )
    picture = images.photo(LARGE, mode, noise=8)
    options = {"exif": b"Exif\0\0" + block} if format_name in {"JPEG", "WEBP"} else {"exif": block}
    if format_name == "JPEG":
        options |= {"quality": 95}
    if format_name not in {"PNG", "TIFF"}:
        options |= {"xmp": xmp}
    data = images.saved(picture, format_name, icc_profile=images.icc_profile(), **options)
    if format_name == "PNG":
        data = images.with_chunks(data, [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)])
    return data


@functools.cache
def uploads():
    images.heic()  # registers HEIF
    formats = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")
    return {name: with_metadata(name, orientation=1 if name == "HEIF" else 6) for name in formats}


@functools.cache
def stored_as(name, profile, metadata):
    return develop(uploads()[name], LIMITS, profile, metadata=metadata)


def removed_thumbnail(upload):
    return {"thumbnail"} if b"SECRET-THUMBNAIL" in upload else set()


def check_each(metadata, check):
    """Call a check with each upload, its stored image by each profile, and the served file."""
    with every_case() as case:
        for (name, upload), profile in itertools.product(uploads().items(), Profile):
            with case(f"{name} as {profile}"):
                stored = stored_as(name, profile, metadata)
                check(upload, stored, served(stored))


class TestEveryFormatUnderEveryProfile:
    def test_strip_leaves_the_copyright_notice_and_nothing_else(self):
        def check(upload, stored, file):
            assert not any(secret in file for secret in (*images.SECRETS, *PLACE))
            assert images.exif_of(file)[0x8298] == blocks.NOTICE
            assert set(images.exif_of(file)) <= {0x0112, 0x8298}
            assert set(stored.info.metadata_removed) == {
                *("comment", "exif", "gps", "maker-note", "xmp"),
                *removed_thumbnail(upload),
            }

        check_each(MetadataOption.STRIP, check)

    def test_strip_gps_leaves_what_the_camera_knew_but_not_where_it_was(self):
        def check(upload, stored, file):
            assert not any(place in file for place in PLACE)
            assert b"SECRET-MAKER-NOTE" not in file
            left = images.exif_of(file)
            assert left[0x010F] == "SECRET-MAKER"
            assert left.get_ifd(0x8769)[0x9003] == "2026:11:25 12:00:00"
            assert left[0x8298] == blocks.NOTICE
            assert not left.get_ifd(0x8825)
            assert b'tiff:Model="SECRET-XMP"' in file
            assert set(stored.info.metadata_removed) == {
                *("comment", "gps", "maker-note", "xmp-partly"),
                *removed_thumbnail(upload),
            }

        check_each(MetadataOption.STRIP_GPS, check)

    def test_keep_leaves_everything(self):
        def check(upload, stored, file):
            assert all(place in file for place in PLACE)
            assert b"SECRET-MAKER-NOTE" in file
            assert b"SECRET-XMP" in file
            assert set(stored.info.metadata_removed) <= {"thumbnail"}

        check_each(MetadataOption.KEEP, check)

    @pytest.mark.parametrize("metadata", list(MetadataOption))
    def test_the_picture_is_seen_upright_all_the_same(self, metadata):
        def check(upload, stored, file):
            before, after = images.pixels(upload), images.pixels(file)
            assert after.size == before.size
            assert images.distance(before.convert("RGB"), after.convert("RGB")) < 8

        check_each(metadata, check)


@pytest.mark.parametrize("metadata", list(MetadataOption))
@pytest.mark.parametrize("profile", [Profile.LOSSLESS, Profile.BALANCED])
def test_a_tiff_keeps_the_requested_metadata_in_its_new_format(profile, metadata):
    block = exif.parse(blocks.camera_exif(1))
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + block.copied(6, blocks.NOTICE))
    data = images.saved(images.photo(LARGE, noise=8), "TIFF", exif=tags)
    stored = develop(data, LIMITS, profile, metadata=metadata)
    left = images.exif_of(stored.data)
    assert left[0x8298] == blocks.NOTICE
    assert left.get(0x0112, 1) == 1
    assert (0x010F in left) == (metadata is not MetadataOption.STRIP)
    assert bool(left.get_ifd(0x8825)) == (metadata is MetadataOption.KEEP)
    assert images.pixels(stored.data).size == (240, 320)


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


def without_location(metadata):
    return metadata.chosen(MetadataOption.STRIP_GPS, 1, (8, 8))


class TestStripGps:
    @pytest.mark.parametrize("place", PLACES)
    def test_properties_that_may_name_a_place_go_and_the_others_stay(self, place):
        harmless = b'<rdf:Description tiff:Model="X1" exif:FNumber="28/10"/>'
        chosen = without_location(Metadata(xmp=Packet(blocks.packet(place + harmless))))
        assert b"SECRET" not in chosen.xmp
        assert b'tiff:Model="X1"' in chosen.xmp
        assert b'exif:FNumber="28/10"' in chosen.xmp

    @pytest.mark.parametrize("place", PLACES)
    def test_a_packet_of_nothing_else_goes(self, place):
        assert without_location(Metadata(xmp=Packet(blocks.packet(place)))).xmp == b""

    @pytest.mark.parametrize(
        "unread",
        [b"GPS", blocks.packet(b"").decode().encode("utf-16"), b"<a/>", blocks.packet(b"")[:-9]],
    )
    def test_a_packet_that_cannot_be_read_goes(self, unread):
        assert without_location(Metadata(xmp=Packet(unread))).xmp == b""

    @pytest.mark.parametrize("option", [MetadataOption.STRIP_GPS, MetadataOption.KEEP])
    def test_a_picture_that_was_turned_is_not_turned_again(self, option):
        packet = Packet(blocks.packet(b'<rdf:Description tiff:Orientation="6"/>'))
        turned = Metadata(xmp=packet)
        assert b'tiff:Orientation="1"' in turned.chosen(option, 1, (8, 8)).xmp
        assert b'tiff:Orientation="6"' in turned.chosen(option, 6, (8, 8)).xmp

    @pytest.mark.parametrize(
        "place",
        [
            blocks.CITY,
            b"\x1c\x02\x19\0\6Vienna",
            b"\x1c\x02\x5a\x80\x04\0\0\0\6Vienna",
            b"\x1c\x02\xca\0\6Vienna",
            b"\x1c\x08\x0a\0\6Vienna",
        ],
        ids=["city", "keyword", "city of extended length", "preview", "object data"],
    )
    def test_datasets_that_name_a_place_or_hold_a_picture_go_and_the_others_stay(self, place):
        assert without_location(Metadata(iptc=Datasets(blocks.IPTC + place))).iptc == blocks.IPTC

    def test_iptc_that_stays_is_found_again(self):
        assert iptc.of_resources(iptc.as_resources(blocks.IPTC)) == blocks.IPTC
        other = b"8BIM\x04\x0c\0\0\0\0\0\2xx"
        assert iptc.of_resources(other + iptc.as_resources(blocks.IPTC)) == blocks.IPTC

    def test_a_comment_of_the_user_goes(self):
        block = exif.parse(blocks.camera_exif()).copied(1, "", location=False)
        assert b"SECRET-COMMENT" not in block


def test_removed_metadata_of_a_jpeg_is_named():
    thumbnail = b"8BIM\x04\x0c\0\0\0\0\0\2xx"
    resources = b"Photoshop 3.0\0" + thumbnail + iptc.as_resources(blocks.IPTC)
    extension = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)
    data = images.jpeg(images.photo(LARGE), private=False)
    data = data[:2] + images.segment(0xED, resources) + images.segment(0xE1, extension) + data[2:]
    stored = develop(data, LIMITS, metadata=MetadataOption.KEEP)
    assert stored.info.metadata_removed == ("extended-xmp", "photoshop")
    assert develop(data, LIMITS).info.metadata_removed == ("extended-xmp", "iptc", "photoshop")


def test_partly_removed_metadata_is_named():
    place = blocks.packet(b'<rdf:Description exif:GPSLatitude="48,8N" tiff:Model="X1"/>')
    left = Metadata(xmp=Packet(place), iptc=Datasets(blocks.IPTC + blocks.CITY))
    assert left.removed(Metadata.of(without_location(left))) == {"gps", "xmp-partly", "iptc-partly"}
    assert left.removed(left) == set()
    assert left.removed(Metadata()) == {"copyright", "gps", "iptc", "xmp"}


def test_the_orientation_of_an_avif_is_said_once():
    data = images.avif(images.photo(LARGE), orientation=6)
    stored = develop(data, LIMITS, Profile.ORIGINAL, metadata=MetadataOption.STRIP_GPS)
    assert heif.strip(stored.data).metadata.exif.orientation == 1


@pytest.mark.parametrize("metadata", [MetadataOption.KEEP, MetadataOption.STRIP_GPS])
def test_the_size_that_exif_says_is_that_of_the_picture(metadata):
    block = b"Exif\0\0" + blocks.camera_exif(6, size=(2400, 1200))
    data = images.saved(images.photo((2400, 1200), noise=8), "JPEG", exif=block)
    for profile, size in ((Profile.ORIGINAL, (2400, 1200)), (Profile.SMALL, (1024, 2048))):
        stored = develop(data, LIMITS, profile, metadata=metadata)
        camera = images.exif_of(stored.data).get_ifd(0x8769)
        assert (camera[0xA002], camera[0xA003]) == size


def test_a_png_whose_metadata_is_damaged_is_kept_with_it_all_the_same():
    data = images.png(images.photo(LARGE))
    at = data.index(b"SECRET-COMMENT")
    data = data[:at] + b"?" + data[at + 1 :]
    kept = develop(data, LIMITS, Profile.LOSSLESS, metadata=MetadataOption.KEEP)
    assert kept.data == data
