"""The orientation, wherever and in whatever type a program writes it."""

import struct

import pytest

from app.imaging.metadata import exif
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import blocks, images, tiffs
from tests.support.developing import LIMITS, develop
from tests.support.tiffs import BYTE, grey, tiff

SIZE = (160, 120)
PHOTO = images.photo(SIZE)
# BYTE, SHORT, LONG, and their signed ones (TIFF 6.0, section 2).
TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
ATTRIBUTE = blocks.packet(b'<rdf:Description tiff:Orientation="6"/>')
ELEMENT = blocks.packet(
    b"<rdf:Description><tiff:Orientation> 6 </tiff:Orientation></rdf:Description>"
)
RENAMED = ATTRIBUTE.replace(b"xmlns:tiff", b"xmlns:t").replace(b"tiff:O", b"t:O")


def with_exif(block):
    data = images.saved(PHOTO, "JPEG", quality=95)
    return data[:2] + images.segment(0xE1, b"Exif\0\0" + block) + data[2:]


def turned(stored):
    """Whether it is shown turned by a quarter to the right."""
    shown = images.pixels(stored.data)
    upright = PHOTO.transpose(images._UPRIGHT[6])
    assert (stored.info.width, stored.info.height) == (120, 160)
    return shown.size == (120, 160) and images.distance(shown, upright) < 8


class TestTypes:
    @pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
    @pytest.mark.parametrize("kind", TYPES)
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.BALANCED])
    def test_every_type_of_whole_number_is_applied(self, kind, order, profile):
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
        value = struct.pack(order + TYPES[kind], 6).ljust(4, b"\0")
        block = head + struct.pack(f"{order}HHI", 0x0112, kind, 1) + value + bytes(4)
        for option in (MetadataOption.STRIP, MetadataOption.STRIP_GPS):
            assert turned(develop(with_exif(block), LIMITS, profile, metadata=option))

    @pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
    @pytest.mark.parametrize(("kind", "form"), [(5, "II"), (10, "ii")], ids=["plain", "signed"])
    @pytest.mark.parametrize("numbers", [(6, 1), (12, 2)])
    def test_a_rational_number_is_applied(self, kind, form, order, numbers):
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
        entry = struct.pack(f"{order}HHII", 0x0112, kind, 1, 26) + bytes(4)
        block = head + entry + struct.pack(order + form, *numbers)
        for profile in (Profile.ORIGINAL, Profile.BALANCED):
            for option in (MetadataOption.STRIP, MetadataOption.STRIP_GPS):
                assert turned(develop(with_exif(block), LIMITS, profile, metadata=option))
        assert exif.parse(exif.parse(block).upright((120, 160))).named_orientation == 1

    @pytest.mark.parametrize("numbers", [(6, 0), (13, 2), (0, 1)])
    def test_a_rational_number_that_is_no_orientation_is_none(self, numbers):
        block = b"MM\0*" + struct.pack(">IHHHII4xII", 8, 1, 0x0112, 5, 1, 26, *numbers)
        assert develop(with_exif(block), LIMITS).info.width == 160

    def test_a_rational_number_of_a_tiff_is_applied(self):
        data = tiff(grey(t274=(tiffs.RATIONAL, 6, 1)))
        stored = develop(data, LIMITS, Profile.LOSSLESS)
        assert (stored.info.width, stored.info.height) == (48, 64)

    def test_a_size_that_its_type_cannot_hold_stays_as_it_was(self):
        block = blocks.camera_exif(6)
        height = struct.pack(">HH", 0xA003, 4)
        assert height in block
        block = block.replace(height, struct.pack(">HH", 0xA003, 1))
        assert exif.parse(exif.parse(block).upright((240, 320))).orientation == 1


class TestXmp:
    @pytest.mark.parametrize("name", ["attribute", "element", "prefix"])
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.SMALL])
    def test_one_that_stands_there_alone_is_applied(self, name, format_name, profile):
        packet = {"attribute": ATTRIBUTE, "element": ELEMENT, "prefix": RENAMED}[name]
        if format_name == "PNG":
            data = images.png(PHOTO, private=False, icc=False)
            data = images.with_chunks(data, [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)])
        else:
            data = images.saved(PHOTO, format_name, quality=95, xmp=packet)
        assert turned(develop(data, LIMITS, profile))

    def test_exif_is_believed_first(self):
        data = images.saved(PHOTO, "JPEG", xmp=ATTRIBUTE, exif=images.exif(1))
        assert develop(data, LIMITS).info.width == 160

    def test_that_of_a_tiff_is_applied_where_its_directory_has_none(self):
        entry = {"t700": (BYTE, *ATTRIBUTE)}
        stored = develop(tiff(grey(**entry)), LIMITS)
        assert (stored.info.width, stored.info.height) == (48, 64)
        both = develop(tiff(grey(**entry, t274=(tiffs.SHORT, 1))), LIMITS)
        assert both.info.width == 64

    @pytest.mark.parametrize("packet", [ATTRIBUTE, ELEMENT, RENAMED])
    def test_what_stays_of_it_says_that_the_picture_is_upright(self, packet):
        data = images.saved(PHOTO, "JPEG", quality=95, xmp=packet)
        stored = develop(data, LIMITS, metadata=MetadataOption.KEEP).data
        assert b"Orientation" in stored
        assert b'Orientation="6' not in stored
        assert b"> 6 <" not in stored


# Of a Pixel: a motion photo by the new and by the old properties, and the gain map of an Ultra HDR.
MOTION = blocks.packet(
    b'<rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    b' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    b' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
    b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
    b' GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MicroVideo="1"'
    b' GCamera:MotionPhotoPresentationTimestampUs="9" GCamera:MicroVideoOffset="12"'
    b' GCamera:PortraitVersion="3" dc:format="image/jpeg">'
    b'<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">'
    b'<Container:Item Item:Mime="video/mp4" Item:Semantic="MotionPhoto" Item:Length="12"/>'
    b"</rdf:li></rdf:Seq></Container:Directory></rdf:Description>"
)


class TestMotionPhotos:
    """The video after a picture is cut off, and so nothing says that it is there."""

    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.BALANCED])
    def test_no_xmp_names_the_video(self, profile):
        data = images.saved(PHOTO, "JPEG", quality=95, xmp=MOTION) + b"\0\0\0\x0cftypmp42"
        stored = develop(data, LIMITS, profile, metadata=MetadataOption.KEEP)
        for name in (b"MotionPhoto", b"MicroVideo", b"Directory", b"video/mp4", b"hdrgm:Version"):
            assert name not in stored.data
        for name in (b"PortraitVersion", b"image/jpeg"):
            assert name in stored.data
        assert {"trailer", "xmp-partly"} <= set(stored.info.metadata_removed)

    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.ARCHIVE])
    def test_a_file_without_one_is_kept_as_it_is(self, profile):
        data = images.saved(PHOTO, "JPEG", quality=95, xmp=MOTION)
        stored = develop(data, LIMITS, profile, metadata=MetadataOption.KEEP)
        assert stored.info.received_digest == stored.info.digest

    def test_xmp_that_names_no_video_stays_byte_for_byte(self):
        data = images.saved(PHOTO, "JPEG", quality=95, xmp=ELEMENT)
        stored = develop(data + b"more", LIMITS, Profile.ORIGINAL, metadata=MetadataOption.KEEP)
        assert stored.data == data


class TestSeveralPictures:
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.BALANCED])
    def test_the_index_of_pictures_that_were_cut_off_goes_with_them(self, profile):
        data = images.multi_picture()
        assert b"MPF\0" in data
        stored = develop(data, LIMITS, profile, metadata=MetadataOption.KEEP)
        assert b"MPF\0" not in stored.data

    def test_an_index_without_pictures_after_it_is_kept(self):
        data = develop(images.multi_picture(), LIMITS, Profile.ORIGINAL).data
        data = data[:2] + images.segment(0xE2, b"MPF\0SOME") + data[2:]
        stored = develop(data, LIMITS, Profile.ORIGINAL, metadata=MetadataOption.KEEP)
        assert stored.data == data
