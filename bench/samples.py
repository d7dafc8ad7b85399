"""The images that are measured with: gradients with noise, about as hard as photos, and text."""

from dataclasses import dataclass

from app.imaging.limits import ImageLimits
from app.records.image import CHUNK_BYTES
from tests.support import images, pages
from tests.support.developing import develop


@dataclass(frozen=True, slots=True)
class Sample:
    """A JPEG as it is uploaded, and the values of its records."""

    upload: bytes
    values: list[bytes]

    @property
    def stored_bytes(self):
        """The size of the records' values together."""
        return sum(map(len, self.values))


def jpeg(side):
    """Return a square sample: 660 KB a megapixel, of which 300 KB are stored."""
    upload = images.jpeg(images.photo((side, side), noise=60), quality=95)
    stored = develop(upload, ImageLimits()).data
    starts = range(0, len(stored), CHUNK_BYTES)
    return Sample(upload, [stored[start : start + CHUNK_BYTES] for start in starts])


def drawings():
    """Return text and screenshots, in the formats that they are uploaded in."""
    red, terminal, black, window = (
        pages.text("red"),
        pages.text((0, 255, 0), "black"),
        pages.text("black"),
        pages.screenshot(),
    )
    sharp = {"quality": 95, "subsampling": "4:4:4"}
    return [
        *(images.saved(page, "JPEG", **sharp) for page in (red, terminal, black, window)),
        images.saved(window, "JPEG", quality=99, subsampling="4:4:4"),
        images.saved(window, "JPEG", quality=95, subsampling="4:2:0"),
        *(images.saved(window, name) for name in ("BMP", "TIFF", "PNG")),
        images.heic(window, quality=80, chroma=444),
    ]


def kilobytes(size_bytes):
    """Return a size as people read it."""
    return f"{size_bytes / 1000:,.0f} KB"
