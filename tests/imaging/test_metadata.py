"""No byte of metadata is stored, whether the upload is encoded again or kept."""

import io

import pytest
from PIL import Image

from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop

LIMITS = ImageLimits()

UPLOADS = {
    "new jpeg": (False, lambda: images.jpeg(images.photo((320, 240)))),
    "new png": (False, lambda: images.png(images.photo((320, 240)), compress_level=0)),
    "kept jpeg": (True, lambda: images.jpeg(images.photo((320, 240), "CMYK"))),
    "kept png": (True, lambda: images.animated("PNG")),
    "kept webp": (True, images.webp),
    "kept animated webp": (True, lambda: images.animated("WEBP")),
    "kept gif": (True, images.gif),
    "kept animated gif": (True, lambda: images.animated("GIF")),
}


@pytest.fixture(params=UPLOADS)
def upload(request):
    kept, make = UPLOADS[request.param]
    data = make()
    developed = develop(data, LIMITS)
    assert developed.info.kept is kept
    return data, developed


def test_the_upload_does_hold_secrets_and_what_is_stored_holds_none(upload):
    data, developed = upload
    assert any(secret in data for secret in images.SECRETS)
    assert not any(secret in developed.data for secret in images.SECRETS)


def test_no_metadata_is_found_by_a_reader_either(upload):
    _, developed = upload
    with Image.open(io.BytesIO(developed.data)) as image:
        image.load()
        assert not dict(image.getexif())
        assert not image.info.keys() & {"exif", "xmp", "comment", "photoshop", "Comment", "mp"}


def test_the_colour_profile_is_kept(upload):
    data, developed = upload
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(developed.data)) as after:
        assert after.info.get("icc_profile") == before.info.get("icc_profile")
        assert after.format == "GIF" or after.info["icc_profile"] == images.icc_profile()


def test_an_appended_archive_is_dropped(upload):
    data, developed = upload
    stored = develop(data + images.ARCHIVE, LIMITS).data
    assert stored == developed.data
    assert b"SECRET-ARCHIVE" not in stored


def test_metadata_between_the_scans_of_a_progressive_jpeg_goes_as_well():
    data = images.jpeg(images.photo((320, 240), "CMYK"), progressive=True, private=False)
    scan = data.rindex(b"\xff\xda")
    data = data[:scan] + images.segment(0xFE, b"SECRET-COMMENT") + data[scan:]
    developed = develop(data, LIMITS)
    assert developed.info.kept
    assert b"SECRET-COMMENT" not in developed.data
    assert images.same_pixels(images.pixels(data), images.pixels(developed.data))


def test_a_thumbnail_inside_jfif_goes_and_its_version_stays():
    compact = images.jpeg(images.photo((320, 240)), private=False, icc=False)
    assert compact[2:4] == b"\xff\xe0"
    after_jfif = 4 + int.from_bytes(compact[4:6])
    jfif = b"JFIF\0\x01\x02\x01\0\x48\0\x48"
    thumbnail = b"\x01\x05SECRET-THUMBNAI"
    data = compact[:2] + images.segment(0xE0, jfif + thumbnail) + compact[after_jfif:]
    developed = develop(data, LIMITS, Profile.ORIGINAL)
    assert developed.info.kept
    assert b"SECRET" not in developed.data
    assert images.segment(0xE0, jfif + b"\0\0") in developed.data


def test_an_unknown_chunk_inside_an_animation_frame_goes():
    data = images.animated("WEBP", private=False, icc=False)
    frame = data.index(b"ANMF")
    length = int.from_bytes(data[frame + 4 : frame + 8], "little")
    hidden = b"XXXX\x0e\0\0\0SECRET-COMMENT"
    grown = (length + len(hidden)).to_bytes(4, "little")
    end = frame + 8 + length
    data = data[: frame + 4] + grown + data[frame + 8 : end] + hidden + data[end:]
    data = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    developed = develop(data, LIMITS)
    assert b"SECRET-COMMENT" not in developed.data
    assert developed.info.frame_count == 4
