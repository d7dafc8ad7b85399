"""The sender of an upload: who it is, and what its link, if it has one, lets it send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.api.guard import principal_in
from app.api.idempotency import key_in
from app.client import client_in
from app.errors import BadRequestError
from app.events.idempotency import token_of
from app.imaging.formats import ACCEPTED
from app.records.claim import Claim

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from app.imaging.formats import ImageFormat


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends an upload, as `Source` of `app.ingest.upload` says it, and what each may be.

    `link` is the id of the link that it shows, if it shows one: then its options are those of the
    link, and no choice of its own. `idempotency_key` is the key that it sends.
    """

    client: str
    owner: str
    max_bytes: int
    formats: Collection[ImageFormat]
    claim: Claim | None
    link: str = ""
    idempotency_key: str | None = None

    def token(self, position: int | None = None) -> str | None:
        """Return the token of an upload, or of an image of a batch; None without a key.

        One who shows an upload link shares no keys with the one who made it, nor with other links.
        """
        if self.idempotency_key is None:
            return None
        return token_of(self.owner, self.link, self.idempotency_key, position)


def sender_of(request: Request, max_bytes: int) -> Sender:
    """Return who sends a request; an upload may have so many bytes, if no link says less.

    Raises:
        InvalidIdempotencyKeyError: Its key is malformed.
    """
    principal = principal_in(request.scope)
    grant = principal.grant
    terms = grant.terms if grant else None
    formats: Collection[ImageFormat] = ACCEPTED
    claim: Claim | None = None
    if grant and terms:
        max_bytes = min(max_bytes, terms.max_bytes or max_bytes)
        if terms.formats:
            formats = [each for each in ACCEPTED if each.value in terms.formats]
        claim = Claim(grant.link, terms.uses, grant.expires_at)
    return Sender(
        client_in(request.scope),
        principal.name,
        max_bytes,
        formats,
        claim,
        grant.link if grant else "",
        key_in(request.headers),
    )


def announced_bytes(request: Request) -> int | None:
    """Return the length of a body that its client announces; None if it announces none.

    Raises:
        BadRequestError: It is announced in two ways.
    """
    length = request.headers.get("content-length")
    if length is not None and "transfer-encoding" in request.headers:
        # RFC 9112, section 6.1: typical of request smuggling; its length cannot be trusted.
        raise BadRequestError("A body with Transfer-Encoding has no Content-Length.")
    return None if length is None else int(length)
