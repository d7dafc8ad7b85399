"""The density of pixels, and so their shape, goes on with a picture that is encoded again."""

import io
import struct

import pytest
from PIL import Image

from app.imaging.metadata import exif
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.metadata.resolution import Resolution
from app.imaging.profiles import Profile
from tests.support import bitmaps, blocks, images
from tests.support.developing import LIMITS, develop

LARGE = (320, 240)


def said(data):
    """The pixels an inch that a file says, as Pillow reads them."""
    with Image.open(io.BytesIO(data)) as image:
        if image.format in {"WEBP", "AVIF"}:
            block = image.getexif()
            return tuple(float(block[tag]) for tag in (0x011A, 0x011B))
        return tuple(float(each) for each in image.info["dpi"])


def jpeg(dpi=(300, 150), image=None, **options):
    return images.saved(image or images.photo(LARGE), "JPEG", quality=95, dpi=dpi, **options)


def exif_only(kind=2, dpi=300.0, orientation=1):
    """A camera's JPEG, which begins with EXIF."""
    block = images.exif(orientation, private=False)
    block[0x011A], block[0x011B], block[0x0128] = dpi, dpi / 2, kind
    data = images.saved(images.photo(LARGE), "JPEG", quality=95, exif=block)
    length = int.from_bytes(data[4:6])
    return data[:2] + data[4 + length :] if data[3] == 0xE0 else data


def dense_bmp(image=None):
    picture = image or images.photo(LARGE)
    pixels = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGR")
    return bitmaps.bmp(picture.size, 24, pixels, per_metre=(11811, 5906))


def tiff(**options):
    return images.saved(images.photo(LARGE), "TIFF", **options)


DENSE = {
    "JFIF": jpeg(),
    "EXIF": exif_only(),
    "EXIF in centimetres": exif_only(3, 300 / 2.54),
    "TIFF": tiff(dpi=(300, 150)),
    "TIFF in centimetres": tiff(resolution_unit=3, x_resolution=118.11, y_resolution=59.055),
    "BMP": dense_bmp(),
}


class TestResolution:
    @pytest.mark.parametrize("name", DENSE)
    @pytest.mark.parametrize("profile", [Profile.BALANCED, Profile.SMALL])
    def test_a_new_jpeg_says_it(self, name, profile):
        stored = develop(DENSE[name], LIMITS, profile)
        assert (stored.info.content_type, stored.info.kept) == ("image/jpeg", False)
        assert said(stored.data) == pytest.approx((300, 150), abs=0.5)

    @pytest.mark.parametrize("name", ["TIFF", "TIFF in centimetres", "BMP"])
    def test_a_new_png_says_it(self, name):
        stored = develop(DENSE[name], LIMITS, Profile.LOSSLESS)
        assert stored.info.content_type == "image/png"
        assert said(stored.data) == pytest.approx((300, 150), abs=0.1)

    def test_a_photo_in_a_png_says_it_as_jpeg(self):
        data = images.png(images.photo(LARGE), dpi=(300, 150))
        stored = develop(data, LIMITS, Profile.SMALL)
        assert stored.info.content_type == "image/jpeg"
        assert said(stored.data) == pytest.approx((300, 150), abs=0.5)

    @pytest.mark.parametrize("options", [{"webp": True}, {"avif": True}])
    def test_webp_and_avif_say_it_in_exif(self, options):
        profile = Profile.LOSSLESS if "webp" in options else Profile.SMALL
        stored = develop(DENSE["TIFF"], LIMITS, profile, **options)
        assert stored.info.content_type in {"image/webp", "image/avif"}
        assert said(stored.data) == pytest.approx((300, 150), abs=0.1)

    def test_a_camera_of_the_usual_72_makes_no_exif_for_it(self):
        data = images.saved(images.photo(LARGE), "TIFF", dpi=(72, 72))
        stored = develop(data, LIMITS, Profile.LOSSLESS, webp=True)
        assert b"EXIF" not in stored.data

    @pytest.mark.parametrize("make", [jpeg, tiff], ids=["JPEG", "TIFF"])
    def test_a_quarter_turn_turns_it(self, make):
        data = make(dpi=(300, 150), exif=images.exif(6, private=False))
        stored = develop(data, LIMITS, Profile.BALANCED)
        assert stored.info.width == LARGE[1]
        assert said(stored.data) == pytest.approx((150, 300), abs=0.5)

    @pytest.mark.parametrize("profile", [Profile.LOSSLESS, Profile.BALANCED, Profile.SMALL])
    def test_a_fax_keeps_its_shape(self, profile):
        page = images.photo(LARGE, "1", noise=0)
        data = images.saved(page, "TIFF", compression="group4", dpi=(204, 98))
        stored = develop(data, LIMITS, profile)
        assert said(stored.data) == pytest.approx((204, 98), abs=0.1)


class TestRatio:
    """Some files say only the shape of a pixel."""

    @staticmethod
    def jpeg():
        data = jpeg()
        return data[:13] + struct.pack(">BHH", 0, 2, 1) + data[18:]

    def test_a_new_jpeg_says_it(self):
        stored = develop(self.jpeg(), LIMITS)
        assert struct.unpack_from(">BHH", stored.data, 13) == (0, 2, 1)

    def test_a_new_png_says_it(self):
        options = {"resolution_unit": 1, "x_resolution": 4.0, "y_resolution": 2.0}
        stored = develop(tiff(**options), LIMITS, Profile.LOSSLESS)
        at = stored.data.index(b"pHYs") + 4
        assert struct.unpack_from(">IIB", stored.data, at) == (2, 1, 0)

    def test_that_of_a_gif_stays_when_it_is_made_smaller(self):
        data = bytearray(images.gif(images.photo((2400, 60)).quantize(32), private=False))
        data[12] = 64 - 15 + 64
        stored = develop(bytes(data), LIMITS, Profile.SMALL)
        assert said(stored.data) == (1, 2)

    @pytest.mark.parametrize("dpi", [(0, 0), (0, 300)])
    def test_nothing_is_said_of_nothing(self, dpi):
        data = jpeg()
        data = data[:13] + struct.pack(">BHH", 1, *dpi) + data[18:]
        assert b"JFIF" not in develop(data, LIMITS).data


KEEPING = [MetadataOption.KEEP, MetadataOption.STRIP_GPS]


class TestBesideExif:
    """EXIF that goes on with the picture says the same as the picture."""

    @staticmethod
    def png(**entries):
        block = images.exif(private=False)
        block[0x010F] = "a maker"
        for tag, value in entries.items():
            block[int(tag[1:])] = value
        return images.saved(images.photo((2400, 60)), "PNG", exif=block, dpi=(300, 150))

    @pytest.mark.parametrize("option", KEEPING)
    @pytest.mark.parametrize("entries", [{}, {"t282": 72.0, "t283": 72.0, "t296": 2}])
    @pytest.mark.parametrize("options", [{"webp": True}, {"avif": True}], ids=["WebP", "AVIF"])
    def test_a_new_file_says_in_it_what_the_png_said(self, option, entries, options):
        profile = Profile.LOSSLESS if "webp" in options else Profile.SMALL
        stored = develop(self.png(**entries), LIMITS, profile, metadata=option, **options)
        assert stored.info.content_type in {"image/webp", "image/avif"}
        assert said(stored.data) == pytest.approx((300, 150), abs=0.1)
        block = images.exif_of(stored.data)
        assert (block[0x010F], block[0x0128]) == ("a maker", 2)

    @pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
    def test_what_was_there_stays_readable(self, order):
        block = exif.parse(blocks.camera_exif(1, order))
        written = exif.parse(block.upright((64, 48), resolution=Resolution(300, 150, True)))
        assert written.resolution == Resolution(300, 150, True)
        assert written.picture.keys() == block.picture.keys() | {0x011A, 0x011B, 0x0128}
        assert written.camera.keys() == block.camera.keys()
        assert written.gps == block.gps
        assert written.has_thumbnail
        assert written.copyright_notice == block.copyright_notice

    @pytest.mark.parametrize("option", KEEPING)
    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    @pytest.mark.parametrize("make", ["JPEG", "TIFF", "XMP"])
    def test_a_quarter_turn_turns_it_there_too(self, option, orientation, make):
        block = images.exif(orientation if make != "XMP" else 1, private=False)
        block[0x011A], block[0x011B], block[0x0128] = 300.0, 150.0, 2
        picture, options = images.photo(LARGE), {"exif": block}
        if make == "XMP":
            del block[0x0112]
            options["xmp"] = blocks.packet(
                b'<rdf:Description tiff:Orientation="%d"/>' % orientation
            )
        if make == "TIFF":
            options["dpi"] = (300, 150)
        data = images.saved(picture, "TIFF" if make == "TIFF" else "JPEG", quality=95, **options)
        stored = develop(data, LIMITS, metadata=option).data
        parsed = exif.parse(bytes(images.exif_of(stored).tobytes()[6:]))
        turned = orientation in {6, 8}
        assert images.pixels(stored).size == (LARGE[::-1] if turned else LARGE)
        assert parsed.resolution == Resolution(*((150, 300) if turned else (300, 150)), True)
