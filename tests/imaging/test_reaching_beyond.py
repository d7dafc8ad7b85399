"""A colour profile that claims more bytes than the file has: no part of it is one."""

import struct

import pytest

from app.errors import InvalidImageError
from app.imaging.profiles import Profile
from tests.support import bitmaps, images
from tests.support.developing import LIMITS, develop

_ORIENTATION_TAG, _ICC_TAG = 274, 34675


def tiff_entry(data, tag):
    """Return where an entry of the first directory is."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    places = range(directory + 2, directory + 2 + 12 * count, 12)
    return next(at for at in places if struct.unpack_from("<H", data, at) == (tag,))


def gif():
    """A GIF whose profile comes last."""
    data, piece = images.gif(private=False), images.icc_profile()[:200]
    profile = b"!\xff\x0bICCRGBG1012" + bytes((len(piece),)) + piece + b"\0"
    return data[:-1] + profile + b";"


def bmp():
    return bitmaps.bmp((4, 4), 24, bytes(48), header_bytes=124, icc_profile=images.icc_profile())


# Of each format a file, and its number of bytes of the profile: where it is, and how it is packed.
LENGTHS = {
    "jpeg": (images.jpeg, lambda data: data.index(b"ICC_PROFILE\0") - 2, ">H"),
    "png": (images.png, lambda data: data.index(b"iCCP") - 4, ">I"),
    "webp": (images.webp, lambda data: data.index(b"ICCP") + 4, "<I"),
    "gif": (gif, lambda data: data.index(b"ICCRGBG1012") + 11, "B"),
    "avif": (images.avif, lambda data: data.index(b"colrprof") - 4, ">I"),
    "heic": (images.heic, lambda data: data.index(b"colrprof") - 4, ">I"),
    "tiff": (images.tiff, lambda data: tiff_entry(data, _ICC_TAG) + 4, "<I"),
    "bmp": (bmp, lambda _: 14 + 116, "<I"),
}


def longer(name):
    """Return a file of a format, and one whose profile claims to be longer than the file."""
    make, place, form = LENGTHS[name]
    data = make()
    changed = bytearray(data)
    most = (1 << 8 * struct.calcsize(form)) - 1
    struct.pack_into(form, changed, place(data), min(len(data) + 1, most))
    return data, bytes(changed)


@pytest.mark.parametrize("profile", [Profile.LOSSLESS, Profile.BALANCED])
@pytest.mark.parametrize("name", LENGTHS)
def test_a_profile_that_reaches_beyond_the_file_is_refused(name, profile):
    data, changed = longer(name)
    develop(data, LIMITS, profile)
    with pytest.raises(InvalidImageError):
        develop(changed, LIMITS, profile)


def test_an_entry_that_no_picture_needs_may_reach_beyond_the_file():
    data = bytearray(images.tiff())
    struct.pack_into("<I", data, tiff_entry(data, _ORIENTATION_TAG) + 4, len(data))
    stored = develop(bytes(data), LIMITS, Profile.LOSSLESS)
    assert images.profile_of(stored.data) == images.icc_profile()
