"""Answers that a client keeps, and asks about before each use: a 304 where they are the same.

Hides how their entity tags are made: of the bytes of the JSON, so that all replicas have the same
ones. They are weak, as the JSON may be compressed on its way (RFC 9110, section 8.8.3).
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from starlette.responses import Response

from app.api import conditions, digests
from app.api.headers import VARY, ResponseHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.datastructures import Headers

ETAG = ResponseHeader(
    "ETag",
    "Weak entity tag: it changes with the answer.",
    'W/"vM1yPaTbQhSqYo3d6Q8dWA"',
    variant="Weak",
)
_TAG_BYTES = 16


def tag_of(pieces: Iterable[bytes]) -> str:
    """Return the entity tag of an answer that says this."""
    made = hashlib.blake2b(digest_size=_TAG_BYTES)
    for piece in pieces:
        made.update(piece)
    return f'W/"{base64.urlsafe_b64encode(made.digest()).decode().rstrip("=")}"'


def unmodified(request: Headers, tag: str, headers: Mapping[str, str]) -> Response | None:
    """Return the answer to a client that has this already; None for any other."""
    if not conditions.is_known(request, tag):
        return None
    # As the answer with a body has it, which may be compressed.
    varying = {VARY.name: "Accept-Encoding"}
    return Response(status_code=304, headers={**headers, **varying, ETAG.name: tag})


def answer(request: Headers, body: bytes, headers: Mapping[str, str]) -> Response:
    """Return an answer of JSON, or one without a body if the client has it already."""
    tag = tag_of([body])
    sent = {**headers, ETAG.name: tag, **digests.of_content(request, body)}
    return unmodified(request, tag, headers) or Response(
        body, headers=sent, media_type="application/json"
    )
