"""BMP by Pillow's raw decoder and our reading of its header.

Hides that Pillow's own plugin makes 16 colours of grey noise, drops an alpha bit, gives an index
beyond the palette any colour, and loses rows and pixels of run-length encoding.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageFile, ImagePalette

from app.imaging.containers import bmp

_BLACK, _WHITE = bytes(3), b"\xff" * 3
_MODES = {1: "P;1", 2: "P;2", 4: "P;4", 8: "P"}
_MAX_COLOURS = 256


class BmpFile(ImageFile.ImageFile):
    """A BMP as a plugin of Pillow; `shown` is its picture."""

    format = "BMP"
    format_description = "Windows or OS/2 bitmap"

    def _open(self) -> None:
        assert self.fp is not None  # noqa: S101 - Pillow's own promise
        self._data = self.fp.read()
        self._layout = layout = bmp.layout_of(self._data)
        self._size = layout.size
        direction = 1 if layout.is_top_down else -1
        self._mode, raw_mode = self._modes(layout)
        offset, stride = layout.offset, layout.stride
        if layout.compression in {bmp.RLE8, bmp.RLE4}:
            raw_mode, offset, stride = "P", 0, layout.size[0]
        extents = (0, 0, *layout.size)
        self.tile = [ImageFile._Tile("raw", extents, offset, (raw_mode, stride, direction))]  # noqa: SLF001
        if layout.icc_profile:
            self.info["icc_profile"] = layout.icc_profile

    @staticmethod
    def _modes(layout: bmp.Layout) -> tuple[str, str]:
        if raw_mode := _MODES.get(layout.bits):
            return "P", raw_mode
        if layout.bits == 16:  # noqa: PLR2004 - taken apart when it is shown
            return "I;16", "I;16"
        order = "BGR" if layout.bits == 24 else bmp.byte_order(layout.masks)  # noqa: PLR2004
        return ("RGBA" if "A" in order else "RGB"), order

    def load(self) -> Any:
        """Unpack run-length encoding first, which nobody has done before the limits are known."""
        if self.tile and self._layout.compression in {bmp.RLE8, bmp.RLE4}:
            self.fp = io.BytesIO(bmp.unpacked(self._data, self._layout))
        loaded = super().load()
        self._data = b""
        return loaded

    def shown(self) -> Image.Image:
        """Return the loaded picture with its colours: grey where all are, else a palette or RGB."""
        if self.mode == "P":
            return self._coloured()
        if self._layout.bits == 16:  # noqa: PLR2004 - bits of a pixel
            pixels = self.convert("I")
            bands = [pixels.point(bmp.samples(mask), "L") for mask in self._layout.masks]
            shown = Image.merge("RGBA", bands)
            shown.info = dict(self.info)
        else:
            shown = self
        if shown.mode == "RGBA" and not shown.getchannel("A").getbbox():
            # Its program knows of no alpha: nobody means a picture of which nothing is seen.
            return shown.convert("RGB")
        return shown

    def _coloured(self) -> Image.Image:
        colours = [entry[::-1] for entry in self._layout.palette]
        # Other decoders show black for an index beyond the palette.
        colours += [_BLACK] * (_MAX_COLOURS - len(colours))
        histogram = self.histogram()
        highest = max(index for index, count in enumerate(histogram) if count)
        used = colours[: highest + 1]
        self.palette = ImagePalette.raw("RGB", b"".join(used))
        self.load()
        if any(len(set(colour)) > 1 for colour in used):
            return self
        grey = self.convert("L")
        two = self._layout.bits == 1 and set(used) <= {_BLACK, _WHITE}
        return grey.convert("1", dither=Image.Dither.NONE) if two else grey
