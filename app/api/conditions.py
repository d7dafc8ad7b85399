"""Conditional and range requests (RFC 9110, sections 13 and 14), as far as an image needs them.

Hides their syntax and precedence. An image never changes, so there are entity tags and no dates;
one range is served, and several are ignored, as section 14.2 allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.api.headers import RequestHeader
from app.errors import PreconditionFailedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

RANGE = RequestHeader(
    "Range",
    "A range of bytes (RFC 9110), such as `bytes=0-99`. Several in one request are ignored.",
)
IF_RANGE = RequestHeader("If-Range", "The range counts only if the image has this entity tag.")
IF_MATCH = RequestHeader("If-Match", "A 412 unless the image has this entity tag.")
IF_NONE_MATCH = RequestHeader("If-None-Match", "A 304 if the image has this entity tag.")
# Digits beyond any size are malformed: Python converts 4,300 at most, and slowly.
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes to send, from `start` up to, not including, `end`."""

    start: int
    end: int
    partial: bool


def is_unmodified(headers: Headers, etag: str) -> bool:
    """Tell whether the client has the image already, by the preconditions of its request.

    Raises:
        PreconditionFailedError: `If-Match` names other representations.
    """
    given = headers.getlist(IF_MATCH.name)
    if given and not _matches(given, etag, weak=False):
        raise PreconditionFailedError(f"The image's entity tag is {etag}.")
    return _matches(headers.getlist(IF_NONE_MATCH.name), etag, weak=True)


def is_known(headers: Headers, etag: str) -> bool:
    """Tell whether the client has what this entity tag, a weak one, names."""
    known = etag.removeprefix("W/")
    return _matches(headers.getlist(IF_NONE_MATCH.name), known, weak=True)


def slice_of(headers: Headers, etag: str, length: int) -> Slice:
    """Return the bytes that a GET requests.

    Raises:
        RangeNotSatisfiableError: The range is outside the image.
    """
    whole = Slice(0, length, partial=False)
    asked = headers.get(RANGE.name)
    match = None if asked is None else _RANGE.fullmatch(asked.strip())
    if match is None or headers.get(IF_RANGE.name, etag) != etag:
        return whole
    first, last = match.groups()
    if not first and not last:
        return whole
    if not first:
        start, end = max(length - int(last), 0), length
    else:
        start, end = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return whole
    if start >= end:
        raise RangeNotSatisfiableError(f"The image has {length:,} bytes.", length)
    return Slice(start, end, partial=True)


def _matches(lines: list[str], etag: str, *, weak: bool) -> bool:
    if not lines:
        return False
    field = ", ".join(lines)
    if field.strip() == "*":
        return True
    tags = (match.group() for match in _TAG.finditer(field))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)
