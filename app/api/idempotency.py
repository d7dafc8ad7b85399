"""`Idempotency-Key`: an upload that is sent again is stored once.

Hides the two ways in which clients write the key: as a string of structured fields (RFC 9651), as
draft-ietf-httpapi-idempotency-key-header-07 has it, and bare, as most clients do. That draft has
expired, and no other has taken its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.api.headers import FixedHeader, RequestHeader
from app.errors import InvalidIdempotencyKeyError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

# As long as those of the large services that take such keys.
_MAX_CHARACTERS = 255
IDEMPOTENCY_KEY = RequestHeader(
    "Idempotency-Key",
    f"A key of the client's own for this upload, such as a random UUID: up to {_MAX_CHARACTERS}"
    " printable ASCII characters, in quotes or not. The same upload with the same key is stored"
    " once within 24 hours, however often it is sent, and answered alike.",
)
REPLAYED = FixedHeader(
    "Idempotency-Replayed",
    "The image, or one of a batch at least, is what this `Idempotency-Key` stored before.",
    "true",
    required=False,
)
# RFC 9651, section 3.3.3. A bare key has nothing that would mean something in a structured field.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_ESCAPED = re.compile(r"\\(.)")


def key_in(headers: Headers) -> str | None:
    """Return the key in a request, without quotes; None if it has none.

    Raises:
        InvalidIdempotencyKeyError: It is malformed.
    """
    given = headers.getlist(IDEMPOTENCY_KEY.name)
    if not given:
        return None
    if len(given) > 1:
        raise InvalidIdempotencyKeyError("Idempotency-Key: send one.")
    key = _parsed(given[0].strip(" \t"))
    if not (key and len(key) <= _MAX_CHARACTERS):
        raise InvalidIdempotencyKeyError(
            f"Idempotency-Key: send 1 to {_MAX_CHARACTERS} printable ASCII characters, in quotes,"
            ' or without spaces and none of , ; " and \\.'
        )
    return key


def _parsed(text: str) -> str:
    if quoted := _QUOTED.fullmatch(text):
        return _ESCAPED.sub(r"\1", quoted[1])
    return text if _BARE.fullmatch(text) else ""
