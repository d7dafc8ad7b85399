"""Codings of content (RFC 9110, section 8.4): a body comes with none.

Images are compressed as they are, so that a coding would save nothing, and what it expands to would
have to be bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import UnsupportedEncodingError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

_IDENTITY = "identity"


def require_none(headers: Headers) -> None:
    """Refuse the body of a request that is encoded.

    Raises:
        UnsupportedEncodingError: It is.
    """
    named = ",".join(headers.getlist("content-encoding")).lower().split(",")
    for coding in filter(None, map(str.strip, named)):
        if coding != _IDENTITY:
            raise UnsupportedEncodingError(
                f"A body with Content-Encoding {coding[:50]!r} is not accepted: send it as it is."
            )
