"""Sharp edges in a picture: what drawings, text and screenshots have, and photos do not.

One tile decides: a line of red text in a large photo is to be legible too.
"""

from __future__ import annotations

import math

from PIL import Image, ImageChops

# Of a tile of 14 camera photos at most 1.6 % (a strip of text in one of them 13 %), of red text
# on white a third, of text smoothed for the subpixels of a screen 3 to 5 %. With a difference of 20
# a sharp photo comes to 4.3 %, and such text no further.
_COLOUR_DIFFERENCE = 24
_COLOUR_SHARE = 0.025

# A line across a tile is 3 % of it. The noise in a photo with few colours is far below 24.
_LIGHT_DIFFERENCE = 24
_LIGHT_SHARE = 0.01

# Where a channel that holds differences has the one of nothing.
_MIDDLE = 128
_COLOURS_DIFFER = [255 * (abs(value - _MIDDLE) >= _COLOUR_DIFFERENCE) for value in range(256)]
_LIGHT_DIFFERS = [255 * (value >= _LIGHT_DIFFERENCE) for value in range(256)]

# Pixels on a side of a tile.
_TILE = 32
# Pixels looked at together: of a large picture, new memory alone would take as long as the work.
_STRIP_PIXELS = 1_000_000

_Box = tuple[int, int, int, int]


def has_sharp_colours(picture: Image.Image) -> bool:
    """Tell whether colours lie next to each other that 4:2:0 would visibly mix.

    At half the size, each pixel is compared with the mean of the four that it stands for: 3 ms a
    megapixel, less than decoding a JPEG.

    Args:
        picture: RGB or RGBA.
    """
    width, height = picture.width // 2 * 2, picture.height // 2 * 2
    if not (width and height):
        return False
    tiles = max(_STRIP_PIXELS // width // (2 * _TILE), 1)
    step = tiles * 2 * _TILE
    strips = ((0, top, width, min(top + step, height)) for top in range(0, height, step))
    return any(_has_tile(_colours_lost(picture, strip), _COLOUR_SHARE) for strip in strips)


def _colours_lost(picture: Image.Image, strip: _Box) -> Image.Image:
    """Mark each second pixel of a strip whose colour is far from the mean that 4:2:0 keeps."""
    if picture.mode != "RGB":
        picture = picture.crop(strip).convert("RGB")
        strip = (0, 0, *picture.size)
    half = strip[2] // 2, (strip[3] - strip[1]) // 2
    pixels = picture.resize(half, Image.Resampling.NEAREST, strip)
    # Colours are linear in RGB: the difference is converted, not both. One of more than half the
    # range is cut to that, five times what counts.
    lost = ImageChops.subtract(pixels, picture.reduce(2, strip), offset=_MIDDLE).convert("YCbCr")
    blue, red = (lost.getchannel(each).point(_COLOURS_DIFFER) for each in ("Cb", "Cr"))
    return ImageChops.lighter(blue, red)


def has_sharp_lines(picture: Image.Image) -> bool:
    """Tell whether light and dark lie next to each other somewhere, with no pixel between.

    Args:
        picture: RGB or RGBA.
    """
    light = picture.convert("L")
    width, height = light.size
    return any(
        _has_tile(_differences(light, width, height, *step).point(_LIGHT_DIFFERS), _LIGHT_SHARE)
        for step in ((1, 0), (0, 1))
        if width > step[0] and height > step[1]
    )


def _differences(light: Image.Image, width: int, height: int, right: int, down: int) -> Image.Image:
    """Return how far each pixel is from its neighbour."""
    first = light.crop((0, 0, width - right, height - down))
    return ImageChops.difference(first, light.crop((right, down, width, height)))


def _has_tile(marked: Image.Image, share: float) -> bool:
    """Tell whether this share of the pixels of some tile is marked."""
    means = marked.reduce(_TILE).histogram()
    return any(means[math.ceil(share * 255) :])
