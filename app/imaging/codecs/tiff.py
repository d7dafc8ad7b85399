"""TIFF by libtiff.

Hides what Pillow's plugin makes of some kinds: planes of 16 bits that are not packed become noise,
16-bit grey whose zero is white a negative, a colour map of 8-bit values black.
"""

from __future__ import annotations

from PIL import Image, ImagePalette, TiffImagePlugin

# Pillow's own reading of strips that are not packed knows neither planes of 16 bits nor the
# subsampling of YCbCr.
TiffImagePlugin.READ_LIBTIFF = True

# The big-endian twin of an entry that is there.
_KEY = (TiffImagePlugin.MM, 0, (1,), 1, (16,), ())
TiffImagePlugin.OPEN_INFO[_KEY] = ("I;16B", "I;16B")

_PHOTOMETRIC, _COLOUR_MAP = 262, 320
_EIGHT_BITS = 256
_WHITE_OF_16_BITS = 65_535


class TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF as Pillow reads it; `shown` is its picture."""

    def shown(self) -> Image.Image:
        """Return the loaded picture in a mode that later steps support, and with its colours."""
        if self.mode in {"I;16", "I;16B"}:
            return self._grey_of_16_bits()
        if self.mode in {"P", "PA"} and max(self.tag_v2[_COLOUR_MAP]) < _EIGHT_BITS:
            # As libtiff has it: nobody means a palette of which all is black.
            self.palette = ImagePalette.raw("RGB;L", bytes(self.tag_v2[_COLOUR_MAP]))
            Image.Image.load(self)
        return self.convert("LA") if self.mode == "La" else self

    def _grey_of_16_bits(self) -> Image.Image:
        is_negative = self.tag_v2.get(_PHOTOMETRIC, 0) == 0
        if self.mode == "I;16" and not is_negative:
            return self
        grey = self.convert("I")
        if is_negative:
            grey = grey.point(lambda value: value * -1 + _WHITE_OF_16_BITS)
        return grey.convert("I;16")
