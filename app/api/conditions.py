"""Conditional and range requests (RFC 9110, sections 13 and 14), as far as an image needs them.

Hides their syntax and precedence. An image never changes, so there are entity tags and no dates;
one range is served, and several are ignored, as section 14.2 allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import PreconditionFailedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

# Digits beyond any size are malformed: Python converts 4,300 at most, and slowly.
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Slice:
    """What is to be sent: the bytes from `start` up to, not including, `end`."""

    start: int
    end: int
    partial: bool


def is_unmodified(headers: Headers, etag: str) -> bool:
    """Evaluate the preconditions; True means that the client has the image already.

    Raises:
        PreconditionFailedError: `If-Match` names other representations.
    """
    if "if-match" in headers and not _matches(headers.getlist("if-match"), etag, weak=False):
        raise PreconditionFailedError(f"The image's entity tag is {etag}.")
    return _matches(headers.getlist("if-none-match"), etag, weak=True)


def slice_of(headers: Headers, etag: str, length: int) -> Slice:
    """Return which bytes a GET asks for.

    Raises:
        RangeNotSatisfiableError: The range lies outside the image.
    """
    whole = Slice(0, length, partial=False)
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or headers.get("if-range", etag) != etag:
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
    field = ", ".join(lines)
    if field.strip() == "*":
        return True
    tags = (match.group() for match in _TAG.finditer(field))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)
