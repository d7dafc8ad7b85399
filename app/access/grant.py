"""A grant: what a signed link allows the one who shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UploadTerms:
    """The bounds of uploads by a link.

    Args:
        uses: How many images it may store.
        max_bytes: The largest upload; None for that of the server.
        formats: The formats by their names, such as `jpeg`; empty for all.
    """

    uses: int = 1
    max_bytes: int | None = None
    formats: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a link allows: the one operation that it was made for.

    Args:
        link: The id of the link.
        maker: The principal who made it; empty where nobody needed a credential.
        expires_at: When it ends, in seconds since 1970.
        image_id: The image of a download.
        terms: Those of an upload.
    """

    link: str
    maker: str
    expires_at: int
    image_id: str = ""
    terms: UploadTerms | None = None
