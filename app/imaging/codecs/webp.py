"""WebP by Pillow's decoder, which is let go as soon as a still picture is there.

Hides that the decoder is one of animations: it has a canvas, and a copy of it for the next frame,
each as large as the picture, and Pillow keeps both as long as the image. Of a picture at the limit
of pixels they are 400 MB.
"""

from __future__ import annotations

from PIL.WebPImagePlugin import WebPImageFile


class WebPFile(WebPImageFile):
    """A WebP as a plugin of Pillow."""

    def _get_next(self) -> tuple[bytes, int, int]:
        frame = super()._get_next()
        if not self.is_animated:
            # Before Pillow copies the bytes of the frame into an image.
            del self._decoder
        return frame
