"""Reason phrases of RFC 9110, where uvicorn sends older ones: those of Python's `HTTPStatus`."""

from __future__ import annotations

from http import HTTPStatus

from uvicorn.protocols.http.h11_impl import STATUS_PHRASES

# Python 3.13 has these too (RFC 9110, sections 15.5.14, .15, .17 and .21).
_RENAMED = {
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}


def use() -> None:
    """Have uvicorn send them."""
    STATUS_PHRASES.update(_RENAMED)


def phrase_of(status: int) -> bytes:
    """Return the reason phrase of a status."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase.encode()
