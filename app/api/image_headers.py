"""The headers of a stored image, as uploads and downloads send them.

Hides the syntax of their values: entity tags (RFC 9110), digests (RFC 9530), and file names that no
client can misread (RFC 6266).
"""

from __future__ import annotations

import math
import re
import time
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.api import examples
from app.api.guard import API_KEY, AUTHORIZATION
from app.api.headers import PRIVATE, RESOURCE_POLICY, VARY, FixedHeader, ResponseHeader
from app.api.settings import Embedding
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from app.delivery.stored_image import StoredImage
    from app.imaging.info import ImageInfo

ETAG = ResponseHeader("ETag", "Strong entity tag: the digest of the image.", examples.ETAG)
REPR_DIGEST = ResponseHeader(
    "Repr-Digest",
    "Digest of the whole image (RFC 9530): SHA-256, or as `Want-Repr-Digest` says. Missing where it"
    " wants none.",
    examples.REPR_DIGEST,
    required=False,
)
# An image never changes; anyone may keep a copy of a public one.
_YEAR_SECONDS = 31_536_000
IMMUTABLE = f"public, max-age={_YEAR_SECONDS}, immutable"
CACHING = ResponseHeader(
    "Cache-Control",
    "An image never changes: caches may keep a public one, until it expires. Of another, only"
    f" the client may keep it, and asks again before each use: `{PRIVATE.value}`.",
    IMMUTABLE,
    variant="Image",
)
ACCEPT_RANGES = FixedHeader("Accept-Ranges", "Ranges of bytes are served.", "bytes")
CONTENT_LENGTH = ResponseHeader(
    "Content-Length",
    "Size of the body in bytes; of a HEAD, that of the download.",
    str(examples.CONTENT_LENGTH),
)
CONTENT_DISPOSITION = ResponseHeader(
    "Content-Disposition",
    "File name of the upload, or the id, with the extension of the served format (RFC 6266).",
    "inline; filename=\"img.jpg\"; filename*=UTF-8''img.jpg",
)
# A file that a browser takes for a page nevertheless runs nothing, and is of no origin.
SANDBOX = FixedHeader(
    "Content-Security-Policy",
    "A browser runs and loads nothing for it.",
    "sandbox; default-src 'none'",
)
OF_DOWNLOADS = (
    ETAG,
    REPR_DIGEST,
    CACHING,
    ACCEPT_RANGES,
    CONTENT_LENGTH,
    CONTENT_DISPOSITION,
    SANDBOX,
)

# A cache must not give one client's answer to another.
VARY_BY_CREDENTIAL = f"{AUTHORIZATION.name}, {API_KEY.name}"

_EXTENSIONS = {each.content_type: each.extension for each in ImageFormat}
# Of the accepted formats, and of those that are uploaded under the wrong one. Another dot may be a
# part of the name: of a time, or a version.
_EXTENSION = re.compile(
    r"\.(?:jpe?g|jpe|jfif|pjpeg|a?png|webp|gif|avif|hei[cf]|hif|tiff?|bmp|dib|jxl|jp2|svg)$",
    re.IGNORECASE,
)
# File names of images that are asked for again and again: some 500 bytes each.
_REMEMBERED = 4_096


def etag(digest: str) -> str:
    """Return the entity tag of an image."""
    return f'"{digest}"'


def of_unmodified(image: StoredImage, embedding: Embedding) -> dict[str, str]:
    """Return the headers of an answer to a client that has the image.

    Pages of other sites may embed a public one, where the server allows it.
    """
    headers = {ETAG.name: etag(image.info.digest), SANDBOX.name: SANDBOX.value}
    if image.is_public:
        return headers | {CACHING.name: _caching(image.info), RESOURCE_POLICY.name: embedding.value}
    return headers | {
        CACHING.name: PRIVATE.value,
        VARY.name: VARY_BY_CREDENTIAL,
        RESOURCE_POLICY.name: Embedding.SAME_ORIGIN,
    }


def _caching(info: ImageInfo) -> str:
    """Return how long anyone may keep a copy of a public image: not longer than it is there."""
    if info.expires_at is None:
        return IMMUTABLE
    left = max(info.expires_at - math.ceil(time.time()), 0)
    return f"public, max-age={min(left, _YEAR_SECONDS)}, immutable"


def of_download(
    image_id: str, image: StoredImage, content_length: int, embedding: Embedding
) -> dict[str, str]:
    """Return the headers of an answer with so many bytes of an image."""
    info = image.info
    extension = _EXTENSIONS.get(info.content_type, ".bin")
    return {
        "Content-Type": info.content_type,
        **of_unmodified(image, embedding),
        ACCEPT_RANGES.name: ACCEPT_RANGES.value,
        CONTENT_DISPOSITION.name: content_disposition(info.filename, image_id, extension),
        CONTENT_LENGTH.name: str(content_length),
    }


# Making one takes Python 10 us.
@lru_cache(_REMEMBERED)
def content_disposition(filename: str | None, image_id: str, extension: str) -> str:
    """Return the field value for a file name with the extension of the served format."""
    named = filename or image_id
    stem = _EXTENSION.sub("", named) or named
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().strip()
    plain = "".join("_" if character in '"\\%;/' else character for character in plain)
    encoded = quote(f"{stem}{extension}", safe="")
    return f"inline; filename=\"{plain or image_id}{extension}\"; filename*=UTF-8''{encoded}"
