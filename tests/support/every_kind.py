"""An upload of each format and of each odd kind of it that the tests can make."""

from PIL import Image

from tests.support import arithmetic, bitmaps, gifs, images, odd_images, tiffs, transparent
from tests.support.profiles import rgb_profile
from tests.support.tiffs import of_planes

SIZE = (96, 64)


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
        # Decoders differ in what they show for an index beyond the palette.
        palette = (bitmaps.PALETTE * 64)[: 1 << bits]
        options = {"compression": compression, "palette": palette}
        yield f"BMP {name}", bitmaps.bmp((5, 2), bits, packed, **options)
    # ImageMagick 6 shows an alpha of one bit as half of it: `test_bmp` has such.
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    options = {"compression": bitmaps.BITFIELDS, "masks": masks, "header_bytes": bitmaps.V5}
    rows = bitmaps.rows((4, 2), 32, [0x80C80A14, 0xFF00FF00, 0x00FFFFFF, 0x400000FF])
    yield "BMP with alpha", bitmaps.bmp((4, 2), 32, rows, **options)
    rows = bitmaps.rows((4, 2), 4, [0, 1, 2, 3])
    yield "BMP of 4 bits", bitmaps.bmp((4, 2), 4, rows, palette=bitmaps.PALETTE * 4)
    rows = plain().transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGR")
    options = {"header_bytes": bitmaps.V5, "icc_profile": rgb_profile()}
    yield "BMP with a profile", bitmaps.bmp(SIZE, 24, rows, **options)
    yield "BMP", images.bmp(plain())


def kinds_of_tiff():
    size, rows = tiffs.SIZE, tiffs.rows
    yield "TIFF, white is zero", of_planes(size, (16,), 0, [rows(b"\0\0", b"\0\xc0")])
    planes = [rows(left * 2, right * 2) for left, right in ((b"\xc8", b"\x0a"), (b"\x14", b"\x6e"))]
    yield "TIFF in planes", of_planes(size, (16,) * 3, 2, [*planes, planes[0]])
    colours = tuple(range(256)) + tuple(range(255, -1, -1)) + (9,) * 256
    yield (
        "TIFF, small colour map",
        of_planes(size, (8,), 3, [rows(b"\1", b"\xf0")], tag_320=colours),
    )
    multiplied = rows(bytes((100, 0, 0, 128)), bytes(4))
    yield "TIFF, multiplied alpha", of_planes(size, (8,) * 4, 2, [multiplied], tag_338=(1,))
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
