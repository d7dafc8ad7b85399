"""What names a device or a time beside EXIF: colour profiles, tracks, serial numbers."""

import io
import struct

import pytest
from PIL import ImageCms

from app.imaging.containers import gif
from app.imaging.metadata import exif, icc
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.metadata.xmp import Packet
from app.imaging.profiles import Profile
from tests.support import blocks, gifs, images, profiles
from tests.support.developing import LIMITS, develop

PROFILE = profiles.of_a_screen(images.icc_profile())
PHOTO = images.photo((320, 240))


def usable(profile):
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


class TestProfile:
    def test_only_what_names_the_device_becomes_empty(self):
        changed = icc.anonymous(PROFILE)
        assert b"SECRET" in PROFILE
        assert b"SECRET" not in changed
        assert len(changed) == len(PROFILE)
        assert usable(changed).profile.red_primary == usable(PROFILE).profile.red_primary
        assert icc.anonymous(changed) == changed

    def test_one_that_names_none_is_the_same(self):
        assert icc.anonymous(images.icc_profile()) == images.icc_profile()

    def test_colours_that_share_the_bytes_stay(self):
        (at,) = struct.unpack_from(">I", PROFILE, PROFILE.index(b"rXYZ") + 4)
        place = PROFILE.index(b"mmod") + 4
        crafted = PROFILE[:place] + struct.pack(">I", at) + PROFILE[place + 4 :]
        assert icc.anonymous(crafted)[at : at + 20] == PROFILE[at : at + 20]

    @pytest.mark.parametrize("cut", range(0, len(PROFILE), 97))
    def test_one_that_is_cut_short_is_read_as_far_as_it_goes(self, cut):
        assert len(icc.anonymous(PROFILE[:cut])) == cut

    @pytest.mark.parametrize("option", [MetadataOption.STRIP, MetadataOption.STRIP_GPS])
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.SMALL])
    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
    def test_it_names_no_device_in_any_format(self, name, profile, option):
        images.heic()  # registers HEIF
        data = images.saved(PHOTO, name, icc_profile=PROFILE)
        if name == "TIFF":
            profile = Profile.LOSSLESS
        stored = develop(data, LIMITS, profile, metadata=option).data
        assert b"mmod" in images.profile_of(stored)
        assert b"SECRET" not in stored + images.profile_of(stored)

    def test_one_in_several_pieces_names_none(self):
        data = images.saved(PHOTO, "JPEG", icc_profile=PROFILE)
        at = data.index(b"\xff\xe2")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        head = b"ICC_PROFILE\0"
        pieces = [
            images.segment(0xE2, head + bytes((number + 1, 2)) + PROFILE[start:stop])
            for number, (start, stop) in enumerate([(0, 300), (300, len(PROFILE))])
        ]
        data = data[:at] + b"".join(pieces) + data[end:]
        stored = develop(data, LIMITS, Profile.ORIGINAL).data
        assert images.profile_of(stored) == icc.anonymous(PROFILE)

    @pytest.mark.parametrize("option", [MetadataOption.STRIP, MetadataOption.STRIP_GPS])
    def test_one_in_a_gif_names_none(self, option):
        data = gifs.gif(loops=gifs.icc_block(PROFILE))
        stored = develop(data, LIMITS, Profile.ORIGINAL, metadata=option).data
        assert gif.icc_profile(stored) == icc.anonymous(PROFILE)
        assert len(stored) == len(data)

    def test_one_of_a_sequence_names_none(self):
        frames = images.frames()
        options = {"save_all": True, "append_images": frames[1:], "icc_profile": PROFILE}
        data = images.saved(frames[0], "AVIF", **options)
        assert data.count(b"SECRET-MODEL") == 2
        stored = develop(data, LIMITS, Profile.ORIGINAL)
        assert b"SECRET" not in stored.data
        assert stored.data.count(icc.anonymous(PROFILE)) == 2
        both = images.frames_of(data), images.frames_of(stored.data)
        assert all(
            images.same_pixels(one, other) for (one, *_), (other, *_) in zip(*both, strict=True)
        )

    @pytest.mark.parametrize("name", ["JPEG", "GIF"])
    def test_it_stays_where_all_metadata_is_kept(self, name):
        if name == "GIF":
            data = gifs.gif(loops=gifs.icc_block(PROFILE))
        else:
            data = images.saved(PHOTO, "JPEG", icc_profile=PROFILE)
        stored = develop(data, LIMITS, Profile.ORIGINAL, metadata=MetadataOption.KEEP)
        assert stored.data == data


class TestTracks:
    def test_the_dates_of_a_sequence_go(self):
        frames = images.frames()
        data = images.saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
        stored = develop(data, LIMITS, Profile.ORIGINAL)
        assert stored.info.frame_count == 4
        for kind in (b"mvhd", b"tkhd", b"mdhd"):
            at, wide = data.index(kind) + 8, data[data.index(kind) + 4]
            times = slice(at, at + (16 if wide else 8))
            assert any(data[times])
            assert not any(stored.data[times])
            assert stored.data[times.stop : times.stop + 4] == data[times.stop : times.stop + 4]
        assert "date" in stored.info.metadata_removed


class TestSerialNumbers:
    def test_those_of_exif_go_with_places_and_the_owner_stays(self):
        entries = {0xA430: b"Owner\0", 0xA431: b"SECRET-1\0", 0xA435: b"SECRET-2\0"}
        values, table = b"", b""
        for tag, value in entries.items():
            at = 8 + 2 + 12 + 4 + 2 + 12 * len(entries) + 4 + len(values)
            table += struct.pack(">HHII", tag, 2, len(value), at)
            values += value
        block = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x8769, 4, 1, 26) + bytes(4)
        block += struct.pack(">H", len(entries)) + table + bytes(4) + values
        parsed = exif.parse(block)
        assert parsed.camera.keys() == entries.keys()
        left = exif.parse(parsed.copied(1, "", location=False))
        assert left.camera.keys() == {0xA430}
        assert parsed.tags - left.tags == {0xA431, 0xA435}

    def test_those_of_xmp_go(self):
        packet = blocks.packet(
            b'<rdf:Description xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"'
            b' xmlns:exifEX="http://cipa.jp/exif/1.0/" aux:SerialNumber="SECRET"'
            b' aux:LensSerialNumber="SECRET" exifEX:BodySerialNumber="SECRET" aux:Lens="24-70"/>'
        )
        left = Packet(packet).without_location.data
        assert b"SECRET" not in left
        assert b"24-70" in left
