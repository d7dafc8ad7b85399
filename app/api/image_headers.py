"""The headers of a stored image, as uploads and downloads send them.

Hides the syntax of their values: entity tags (RFC 9110), digests (RFC 9530), and file names that no
client can misread (RFC 6266).
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.api import examples
from app.api.headers import RESOURCE_POLICY, FixedHeader, ResponseHeader
from app.imaging.formats import ImageFormat
from app.records.image import digest_field

if TYPE_CHECKING:
    from app.api.settings import Embedding
    from app.imaging.info import ImageInfo

ETAG = ResponseHeader("ETag", "Strong entity tag: the digest of the image.", examples.ETAG)
REPR_DIGEST = ResponseHeader(
    "Repr-Digest", "SHA-256 of the whole image (RFC 9530).", examples.REPR_DIGEST
)
# An image never changes, and while there is no authentication anyone may keep a copy.
IMMUTABLE = FixedHeader(
    "Cache-Control",
    "An image never changes: caches may keep it.",
    "public, max-age=31536000, immutable",
    variant="Immutable",
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
    IMMUTABLE,
    ACCEPT_RANGES,
    CONTENT_LENGTH,
    CONTENT_DISPOSITION,
    SANDBOX,
)

_EXTENSIONS = {each.content_type: each.extension for each in ImageFormat}


def etag(digest: str) -> str:
    """Return the entity tag of an image."""
    return f'"{digest}"'


def of_upload(digest: str) -> dict[str, str]:
    """Return the headers that tell which bytes were stored."""
    return {ETAG.name: etag(digest), REPR_DIGEST.name: digest_field(digest)}


def of_unmodified(info: ImageInfo, embedding: Embedding) -> dict[str, str]:
    """Return the headers of an answer to a client that has the image, for pages that embed it."""
    return {
        ETAG.name: etag(info.digest),
        IMMUTABLE.name: IMMUTABLE.value,
        SANDBOX.name: SANDBOX.value,
        RESOURCE_POLICY.name: embedding.value,
    }


def of_download(
    image_id: str, info: ImageInfo, content_length: int, embedding: Embedding
) -> dict[str, str]:
    """Return the headers of an answer with so many bytes of an image."""
    extension = _EXTENSIONS.get(info.content_type, ".bin")
    return {
        "Content-Type": info.content_type,
        **of_unmodified(info, embedding),
        **of_upload(info.digest),
        ACCEPT_RANGES.name: ACCEPT_RANGES.value,
        CONTENT_DISPOSITION.name: content_disposition(info.filename, image_id, extension),
        CONTENT_LENGTH.name: str(content_length),
    }


def content_disposition(filename: str | None, image_id: str, extension: str) -> str:
    """Return the field value for a file name with the extension of the served format."""
    named = filename or image_id
    stem = named.rpartition(".")[0] or named
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().strip()
    plain = "".join("_" if character in '"\\%;/' else character for character in plain)
    encoded = quote(f"{stem}{extension}", safe="")
    return f"inline; filename=\"{plain or image_id}{extension}\"; filename*=UTF-8''{encoded}"
