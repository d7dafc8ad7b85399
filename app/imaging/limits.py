"""Limits of an image, checked against its header before memory is spent on its pixels.

Decompression bombs are small files with large headers: a PNG of 177 megapixels fits in 22 KB.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import HeavyImageError, ImageLimitError, InvalidImageError

# A picture is heavy with more pixels than both: so many, which take some tenth of a second, and so
# many for each byte. A photo has up to 60 (AVIF), a screenshot of flat colours some hundred.
_MANY_PIXELS = 4_000_000
_DENSE_PIXELS = 100


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The most that one image may ask of a worker.

    Args:
        max_pixels: Width times height, summed over all frames.
        max_side: The longer of width and height; WebP ends at 16,383 (RFC 9649, 2.5).
        max_frames: Frames of an animation.
        max_metadata_bytes: Everything beside the picture, the colour profile included.
        heavy: Whether a picture with very many pixels for its bytes is allowed.
    """

    max_pixels: int = 50_000_000
    max_side: int = 16_383
    max_frames: int = 1_000
    max_metadata_bytes: int = 10_000_000
    heavy: bool = True

    def check_metadata(self, size_bytes: int) -> None:
        """Refuse a file that holds too much beside its picture.

        Raises:
            ImageLimitError: Its metadata is too large.
        """
        if size_bytes > self.max_metadata_bytes:
            raise ImageLimitError(
                f"The image has {size_bytes:,} bytes of metadata; "
                f"{self.max_metadata_bytes:,} are allowed."
            )

    def check(self, size: tuple[int, int], frame_count: int, picture_bytes: int) -> None:
        """Refuse an image beyond the limits, and one without pixels.

        Args:
            size: Size of each frame.
            frame_count: Number of frames.
            picture_bytes: Size of the file, without its metadata.

        Raises:
            HeavyImageError: It is heavy, and must not be.
            ImageLimitError: Too many pixels, too long a side, or too many frames.
            InvalidImageError: No width, no height, or no frame.
        """
        self._check_side(size)
        self._check_sum(size[0] * size[1] * frame_count, frame_count, picture_bytes)

    def check_pictures(self, sizes: list[tuple[int, int]], picture_bytes: int) -> None:
        """Refuse a collection beyond the limits, of pictures of any size; raises as `check`."""
        for size in sizes:
            self._check_side(size)
        pixels = sum(width * height for width, height in sizes)
        self._check_sum(pixels, len(sizes), picture_bytes)

    def _check_side(self, size: tuple[int, int]) -> None:
        width, height = size
        if max(size) > self.max_side:
            raise ImageLimitError(
                f"The image is {width} x {height}; a side may have {self.max_side:,} pixels."
            )
        if min(size) <= 0:
            raise InvalidImageError("The image has no pixels.")

    def _check_sum(self, pixels: int, frame_count: int, picture_bytes: int) -> None:
        if frame_count <= 0:
            raise InvalidImageError("The image has no pixels.")
        if frame_count > self.max_frames:
            raise ImageLimitError(
                f"The animation has {frame_count:,} frames; {self.max_frames:,} are allowed."
            )
        if pixels > self.max_pixels:
            raise ImageLimitError(
                f"The image has {pixels:,} pixels in {frame_count:,} frame(s); "
                f"{self.max_pixels:,} in all are allowed."
            )
        if not self.heavy and pixels > max(_MANY_PIXELS, _DENSE_PIXELS * picture_bytes):
            raise HeavyImageError(f"The image has {pixels:,} pixels in {picture_bytes:,} bytes.")
