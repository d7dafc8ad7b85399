"""Who sent a request: its credential is turned into a principal.

Hides the kinds of credentials, and when one is needed: always where other machines reach the
gateway, unless its operator accepts the risk, and on loopback as soon as there is a key.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.access.api_key import PREFIX
from app.access.keys import NAME_PREFIX
from app.access.principal import ANONYMOUS, ANYONE, Principal
from app.access.scopes import Scope
from app.errors import InvalidCredentialError, InvalidLinkError

if TYPE_CHECKING:
    from app.access.keys import Keys
    from app.access.links import Links, Operation
    from app.access.tokens import Tokens

_MAX_CHARACTERS = 8_192


class Access:
    """Authenticates clients by `keys`, `tokens` and `links`.

    Args:
        keys: The API keys.
        tokens: Verifies tokens of issuers.
        links: Verifies signed links.
        required: Whether a credential is needed though there are neither keys nor issuers.
    """

    def __init__(self, keys: Keys, tokens: Tokens, links: Links, *, required: bool = False) -> None:
        self.links = links
        self._keys = keys
        self._tokens = tokens
        self._required = required

    @property
    def is_on(self) -> bool:
        """Whether a client needs a credential."""
        return self._required or self.is_configured

    @property
    def is_configured(self) -> bool:
        """Whether any credential could be valid."""
        return self._tokens.exist or self._keys.exist

    async def principal(self, authorization: str | None, api_key: str | None) -> Principal:
        """Return who shows these credentials: the values of `Authorization` and `X-API-Key`.

        Raises:
            InvalidCredentialError: One is not valid, or there are two.
            IssuerUnavailableError: The keys of a token's issuer are not known yet.
        """
        if not self.is_on:
            return ANYONE
        if authorization is not None and api_key is not None:
            raise InvalidCredentialError("Send Authorization or X-API-Key, not both.")
        credential = _bearer(authorization) if authorization is not None else api_key
        if credential is None:
            return ANONYMOUS
        if len(credential) > _MAX_CHARACTERS:
            raise InvalidCredentialError(f"A credential has up to {_MAX_CHARACTERS:,} characters.")
        if self._tokens.exist and not credential.startswith(PREFIX):
            return await self._tokens.principal(credential)
        return self._keys.principal(credential)

    def linked(self, operation: Operation, query: bytes) -> Principal:
        """Return who shows this link for an operation.

        Raises:
            InvalidLinkError, LinkExpiredError: It is not valid, or no longer.
        """
        principal = self.links.principal(operation, query)
        if not self.still_admits(principal):
            raise InvalidLinkError("Who made the link is not, or no longer, allowed this here.")
        return principal

    def still_admits(self, principal: Principal) -> bool:
        """Tell whether who was let in still has every right that it had then.

        A key may have been revoked, or have expired, as that of a link's maker; a token may have
        expired; and a credential may be needed by now.
        """
        if not self.is_on:
            return True
        if principal.expires_at is not None and time.time() >= principal.expires_at:
            return False
        maker, needed = principal.name, principal.scopes
        if principal.grant is not None:
            maker = principal.grant.maker
            # Only an administrator makes links for others.
            needed |= frozenset() if principal.name == maker else {Scope.ADMIN}
        if not maker.startswith(NAME_PREFIX):
            # That of a token, which cannot be revoked; nobody has no name.
            return bool(maker)
        rights = self._keys.scopes_of(maker.removeprefix(NAME_PREFIX))
        return Scope.ADMIN in rights or needed <= rights


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise InvalidCredentialError("Authorization should be Bearer, and the key or token.")
    return token
