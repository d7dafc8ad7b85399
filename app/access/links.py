"""Signed links: a credential in an address, for one operation with the options that it names.

Hides what is signed: the scope of the operation, the path, and every parameter of the query, by an
HMAC-SHA-256. Nothing can be added, left out or changed, and what a link allows is nowhere stored. A
parameter that is not known here, as a later release may have, is not ignored but refused.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from app import keyring
from app.access.grant import Grant, UploadTerms
from app.access.principal import Principal
from app.access.scopes import Scope
from app.errors import InvalidLinkError, LinkExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.access.link_keys import LinkKeys

# Tells these signatures from whatever else a key may be used for, and this encoding from the next.
_PURPOSE = b"imagegate-link-1"
SIGNATURE = "signature"
_SHOWN = re.compile(rb"(?:^|&)signature=")
# 96 random bits: two links never share an id.
_ID_BYTES = 12
_MAX_PARAMETERS = 32
_OF_EVERY_LINK = {"expires", "by", "link"}
# The options of an operation. Those of an upload's recipe are read by the upload.
_OPTIONS = {
    Scope.READ: set(),
    Scope.WRITE: {
        "uses",
        "max_bytes",
        "formats",
        "profile",
        "metadata",
        "visibility",
        "expires_in",
        "source",
        "owner",
    },
    Scope.STREAMS: {"sees", "width", "fps", "source"},
}
# As `sees` says it: the maker saw the images of everyone.
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Operation:
    """What a link is for: a path, and the scope that it needs, which tells apart its methods."""

    scope: Scope
    path: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link. `url` is a path with a query, `expires_at` in seconds since 1970."""

    id: str
    url: str
    expires_at: int


class Links:
    """Makes and verifies links.

    Args:
        keys: They sign.
        clock: The time, in seconds since 1970.
    """

    def __init__(self, keys: LinkKeys, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    async def make(
        self, operation: Operation, maker: Principal, seconds: int, options: Mapping[str, object]
    ) -> Link:
        """Return a link that ends after so many seconds.

        Args:
            operation: What it is for.
            maker: Who makes it, and may do that.
            seconds: How long it is valid.
            options: Those of the operation; None is one that is not set.
        """
        link_id, expires_at = secrets.token_urlsafe(_ID_BYTES), int(self._clock()) + seconds
        given = {**options, "expires": expires_at, "by": maker.name or None, "link": link_id}
        if operation.scope is Scope.STREAMS and maker.may(Scope.ADMIN):
            given["sees"] = _ALL
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        key = await self._keys.signing()
        parameters[SIGNATURE] = _sign(key, operation, parameters).decode()
        query = urlencode(parameters, quote_via=quote, safe=":/,")
        return Link(link_id, f"{operation.path}?{query}", expires_at)

    def principal(self, operation: Operation, query: bytes) -> Principal:
        """Return who a request by a link counts as: its owner, with the right to that alone.

        Raises:
            InvalidLinkError: It is no link of ours for this.
            LinkExpiredError: Its time is over.
        """
        parameters = _parameters(query)
        claimed = parameters.pop(SIGNATURE).encode()
        macs = [_sign(key, operation, parameters) for key in self._keys.all.values()]
        # Each one, so that the time does not tell which key it was.
        if True not in [hmac.compare_digest(mac, claimed) for mac in macs]:
            raise InvalidLinkError("The link's signature does not fit: use it exactly as it is.")
        if unknown := parameters.keys() - _OF_EVERY_LINK - _OPTIONS[operation.scope]:
            raise InvalidLinkError(
                f"The link has an option that is not known here: {min(unknown)}."
            )
        grant = _grant(operation, parameters)
        if self._clock() >= grant.expires_at:
            raise LinkExpiredError("The link has expired.")
        scopes = {operation.scope}
        if parameters.get("sees") == _ALL:
            # The signature keeps it to this one stream.
            scopes.add(Scope.ADMIN)
        return Principal(parameters.get("owner", grant.maker), frozenset(scopes), grant)


def is_shown(query: bytes) -> bool:
    """Tell whether a request shows a link, given its query."""
    return _SHOWN.search(query) is not None


def _parameters(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as error:
        raise InvalidLinkError("The link has too many parameters.") from error
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise InvalidLinkError("The link has a parameter twice.")
    return parameters


def _sign(key: bytes, operation: Operation, parameters: Mapping[str, str]) -> bytes:
    named = (text.encode() for pair in sorted(parameters.items()) for text in pair)
    fields = (_PURPOSE, operation.scope.encode(), operation.path.encode(), *named)
    return base64.urlsafe_b64encode(keyring.mac(key, fields)).rstrip(b"=")


def _grant(operation: Operation, parameters: Mapping[str, str]) -> Grant:
    """Return what the parameters say, which a gateway has written."""
    formats = parameters.get("formats", "")
    max_bytes = parameters.get("max_bytes")
    return Grant(
        link=parameters["link"],
        maker=parameters.get("by", ""),
        expires_at=int(parameters["expires"]),
        image_id=operation.path.rpartition("/")[2] if operation.scope is Scope.READ else "",
        terms=UploadTerms(
            uses=int(parameters["uses"]),
            max_bytes=int(max_bytes) if max_bytes else None,
            formats=frozenset(formats.split(",") if formats else ()),
        )
        if operation.scope is Scope.WRITE
        else None,
    )
