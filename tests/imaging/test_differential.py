"""Uploads and what is stored of them, seen by another decoder: libvips with ImageMagick.

Pillow cannot find its own mistakes. For each format and odd kind of it, the colours in sRGB, alpha,
size, orientation, frames, delays and loop count of both are compared, for every profile.
"""

import re
import shutil
import subprocess
from typing import NamedTuple

import pytest
from PIL import Image, ImageChops, ImageStat

from app.imaging.profiles import Profile
from tests.support import arithmetic, bitmaps, gifs, images, odd_images, tiffs, transparent
from tests.support.developing import develop, served
from tests.support.profiles import rgb_profile
from tests.support.tiffs import tiff

pytestmark = pytest.mark.skipif(
    not shutil.which("vipsthumbnail"), reason="needs libvips (apt-get install libvips-tools)"
)

SIZE = (96, 64)
# Samples of 16 and of 5 bits are rounded by each decoder in its own way.
EXACT, LOSSY = 1.5, 6


def plain(mode="RGB"):
    return images.photo(SIZE, mode, noise=0)


def keyed():
    for name, (*colours, key) in transparent.KEYED.items():
        yield f"PNG, {name}", transparent.halves(*colours, [(b"tRNS", key)])
    for name, chunks in transparent.UNHEEDED.items():
        yield f"PNG, tRNS {name}", transparent.halves((0,), (1,), 8, 3, chunks)


def late_profile(data):
    at = data.index(b"\xff\xda")
    return data[:at] + images.segment(0xE2, b"ICC_PROFILE\0\1\1" + rgb_profile()) + data[at:]


def bmps():
    for name, (bits, compression, packed) in bitmaps.RUNS.items():
        options = {"compression": compression, "palette": bitmaps.PALETTE}
        yield f"BMP {name}", bitmaps.bmp((5, 2), bits, packed, **options)
    # ImageMagick 6 shows an alpha of one bit as half of it: `test_bmp` has such.
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    options = {"compression": bitmaps.BITFIELDS, "masks": masks, "header_bytes": bitmaps.V5}
    rows = bitmaps.rows((4, 2), 32, [0x80C80A14, 0xFF00FF00, 0x00FFFFFF, 0x400000FF])
    yield "BMP with alpha", bitmaps.bmp((4, 2), 32, rows, **options)
    rows = bitmaps.rows((4, 2), 4, [0, 1, 2, 3])
    yield "BMP of 4 bits", bitmaps.bmp((4, 2), 4, rows, palette=bitmaps.PALETTE)
    rows = plain().transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGR")
    options = {"header_bytes": bitmaps.V5, "icc_profile": rgb_profile()}
    yield "BMP with a profile", bitmaps.bmp(SIZE, 24, rows, **options)
    yield "BMP", images.bmp(plain())


def kinds_of_tiff():
    size, rows = tiffs.SIZE, tiffs.rows
    yield "TIFF, white is zero", tiff(size, (16,), 0, [rows(b"\0\0", b"\0\xc0")])
    planes = [rows(left * 2, right * 2) for left, right in ((b"\xc8", b"\x0a"), (b"\x14", b"\x6e"))]
    yield "TIFF in planes", tiff(size, (16,) * 3, 2, [*planes, planes[0]])
    colours = tuple(range(256)) + tuple(range(255, -1, -1)) + (9,) * 256
    yield "TIFF, small colour map", tiff(size, (8,), 3, [rows(b"\1", b"\xf0")], tag_320=colours)
    multiplied = rows(bytes((100, 0, 0, 128)), bytes(4))
    yield "TIFF, multiplied alpha", tiff(size, (8,) * 4, 2, [multiplied], tag_338=(1,))
    yield "TIFF, fax", images.saved(plain("1"), "TIFF", compression="group4", dpi=(204, 98))
    yield "TIFF, turned", images.tiff(plain(), orientation=6, compression="tiff_lzw")


def files():
    """An upload of each kind, by name."""
    yield from keyed()
    yield from bmps()
    yield from kinds_of_tiff()
    yield "JPEG, turned", images.jpeg(plain(), orientation=6)
    yield "JPEG, grey", images.jpeg(plain("L"), icc=False)
    yield "JPEG, late profile", late_profile(images.jpeg(plain(), icc=False))
    yield "JPEG in RGB", images.saved(plain(), "JPEG", quality=95, keep_rgb=True)
    yield "JPEG, arithmetic", arithmetic.FINE
    yield "PNG of 16 bits", odd_images.raw_png((64, 64), 16, 2, 3)
    yield "PNG, interlaced", odd_images.interlaced_png()
    yield "PNG, palette", images.png(plain("P"), transparency=bytes(range(200)))
    yield "WebP", images.webp(plain("RGBA"), lossless=True)
    yield (
        "WebP without flags",
        odd_images.without_flags(images.webp(plain(), orientation=6)),
    )
    yield "GIF, long control", gifs.gif(gifs.LONG_CONTROL)
    loops = b"!\xff\x0bNETSCAPE2.0" + gifs.LOOPS + gifs.BUFFERING + b"\0"
    yield "GIF, loops and buffering", gifs.gif(loops=loops)
    yield "GIF, animated", images.animated("GIF")
    yield "WebP, animated", images.animated("WEBP")
    yield "AVIF", images.avif(plain())
    yield "HEIC, turned", images.heic(plain(), orientation=6)


class Case(NamedTuple):
    """A pair of files to be compared."""

    before: str
    after: str
    is_exact: bool


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Develop everything, and have libvips decode all of it at once."""
    folder = tmp_path_factory.mktemp("files")
    cases = {}
    for number, (name, data) in enumerate(files()):
        before = _write(folder, f"{number}", data)
        for profile in Profile:
            if data[:2] in {b"BM", b"II"} and profile in {Profile.ORIGINAL, Profile.ARCHIVE}:
                continue
            if name == "TIFF in planes" and profile is Profile.LOSSLESS:
                continue  # refused: only 8 of its 16 bits are decoded
            stored = develop(data, profile=profile)
            after = _write(folder, f"{number}-{profile}", served(stored))
            is_lossless = profile not in {Profile.BALANCED, Profile.SMALL}
            cases[name, profile] = Case(before, after, is_lossless or stored.info.kept)
    every = sorted({each for case in cases.values() for each in case[:2]})
    to_png = ["--size", "100000x100000>", "--export-profile", "srgb", "-o", "%s.png[bitdepth=8]"]
    names = [f"{each}[n=-1]" if _is_animated(folder / each) else each for each in every]
    _vips(folder, "vipsthumbnail", *names, *to_png)
    return folder, cases, _headers(_vips(folder, "vipsheader", "-a", *every))


def _write(folder, stem, data):
    name = f"{stem}.file"
    (folder / name).write_bytes(data)
    return name


def _is_animated(path):
    return path.read_bytes()[:4] in {b"GIF8", b"RIFF"}


def _vips(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


def _headers(text):
    """The properties of animations, by file."""
    headers = {}
    for name, key, value in re.findall(r"^(\S+): (n-pages|delay|loop): (.*)$", text, re.MULTILINE):
        if (key, value) != ("n-pages", "1"):
            headers.setdefault(name, {})[key] = value.strip()
    return headers


@pytest.mark.parametrize("profile", list(Profile))
def test_another_decoder_sees_the_same(seen, profile):
    folder, cases, headers = seen
    wrong = {
        name: difference
        for (name, of), case in cases.items()
        if of is profile and (difference := _difference(folder, case, headers))
    }
    assert wrong == {}


def _difference(folder, case, headers):
    """What is not the same; empty where all is."""
    paths = [folder / f"{name.removesuffix('.file')}.png" for name in case[:2]]
    if missing := [path.name for path in paths if not path.exists()]:
        return f"not decoded: {missing}"
    if headers.get(case.before, {}) != headers.get(case.after, {}):
        return f"{headers.get(case.before)} became {headers.get(case.after)}"
    before, after = (Image.open(path).convert("RGBA") for path in paths)
    if before.size != after.size:
        return f"{before.size} became {after.size}"
    most = EXACT if case.is_exact else LOSSY
    distances = [*_distances(before, after, "black"), *_distances(before, after, "white")]
    return distances if max(distances) > most else ""


def _distances(before, after, colour):
    """Mean differences of the colours before a background, and so of the alpha too."""
    shown = []
    for picture in (before, after):
        background = Image.new("RGBA", picture.size, colour)
        shown.append(Image.alpha_composite(background, picture).convert("RGB"))
    return [round(mean, 1) for mean in ImageStat.Stat(ImageChops.difference(*shown)).mean]
