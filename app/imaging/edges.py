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

# Pixels on a side of a tile.
_TILE = 32
# Rows looked at together: of the whole picture, new memory alone would take as long as the work.
_STRIP = 256


def has_sharp_colours(picture: Image.Image) -> bool:
    """Tell whether colours lie next to each other that 4:2:0 would visibly mix.

    At half the size, each pixel is compared with the mean of the four that it stands for: 3 ms a
    megapixel, less than decoding a JPEG.

    Args:
        picture: RGB or RGBA.
    """
    width, height = picture.width // 2 * 2, picture.height // 2 * 2
    strips = (
        picture.crop((0, top, width, min(top + _STRIP, height))) for top in range(0, height, _STRIP)
    )
    return width > 0 and any(
        _has_tile(_chroma_lost(strip.convert("RGB")), _COLOUR_DIFFERENCE, _COLOUR_SHARE)
        for strip in strips
    )


def _chroma_lost(picture: Image.Image) -> Image.Image:
    """Return how far the colour of each second pixel is from the mean that 4:2:0 keeps."""
    half = picture.width // 2, picture.height // 2
    pixels = picture.resize(half, Image.Resampling.NEAREST).convert("YCbCr")
    means = picture.reduce(2).convert("YCbCr")
    _, blue, red = ImageChops.difference(pixels, means).split()
    return ImageChops.lighter(blue, red)


def has_sharp_lines(picture: Image.Image) -> bool:
    """Tell whether light and dark lie next to each other somewhere, with no pixel between.

    Args:
        picture: RGB or RGBA.
    """
    light = picture.convert("L")
    width, height = light.size
    return any(
        _has_tile(_differences(light, width, height, *step), _LIGHT_DIFFERENCE, _LIGHT_SHARE)
        for step in ((1, 0), (0, 1))
        if width > step[0] and height > step[1]
    )


def _differences(light: Image.Image, width: int, height: int, right: int, down: int) -> Image.Image:
    """Return how far each pixel is from its neighbour."""
    first = light.crop((0, 0, width - right, height - down))
    return ImageChops.difference(first, light.crop((right, down, width, height)))


def _has_tile(differences: Image.Image, least: int, share: float) -> bool:
    """Tell whether this share of the pixels of some tile differs by so much."""
    marked = differences.point([255 if value >= least else 0 for value in range(256)])
    means = marked.reduce(_TILE).histogram()
    return any(means[math.ceil(share * 255) :])
