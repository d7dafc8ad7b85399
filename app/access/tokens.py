"""Tokens of issuers, as JSON Web Tokens: verified, and turned into principals.

Hides the checks. What a token says is believed only after its signature: its issuer names the keys
and the algorithms, its own header names neither. A verified token is remembered until it expires.

Sources: RFC 7519, RFC 8725 (best current practices), RFC 9068 (`at+jwt`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError

from app.access.key_sets import KeySet
from app.access.principal import Principal
from app.access.scopes import Scope
from app.errors import InvalidCredentialError
from app.imaging.names import is_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.access.settings import Issuer

# Clocks differ.
_LEEWAY_SECONDS = 30
_TYPES = {None, "jwt", "at+jwt", "application/at+jwt"}
_REMEMBERED = 10_000
_MAX_SUBJECT = 255
_SCOPES = {scope.value: scope for scope in Scope}


class Tokens:
    """Verifies the tokens of these issuers.

    Args:
        issuers: Who may issue tokens.
        client: Fetches their keys.
        clock: The time, in seconds since 1970.
    """

    def __init__(
        self,
        issuers: Iterable[Issuer],
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        client = client or httpx.AsyncClient(follow_redirects=False, trust_env=False)
        self._issuers = {each.issuer: (each, KeySet(each, client)) for each in issuers}
        self._clock = clock
        # By the digest of the token.
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()

    @property
    def exist(self) -> bool:
        """Whether anybody may issue tokens."""
        return bool(self._issuers)

    async def principal(self, text: str) -> Principal:
        """Return whose token this is.

        Raises:
            InvalidCredentialError: It is no valid token.
            IssuerUnavailableError: The keys of its issuer are not known yet.
        """
        digest = hashlib.sha256(text.encode()).digest()
        if found := self._verified.get(digest):
            if self._clock() < (found.expires_at or 0):
                return found
            del self._verified[digest]
        principal = self._verified[digest] = await self._verify(text)
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return principal

    async def _verify(self, text: str) -> Principal:
        parts = text.split(".")
        if len(parts) != 3:  # noqa: PLR2004 - header, claims and signature (RFC 7515, 7.1)
            raise InvalidCredentialError("This is neither an API key nor a token.")
        header, said = _json(parts[0]), _json(parts[1])
        issuer_name = said.get("iss")
        found = self._issuers.get(issuer_name) if isinstance(issuer_name, str) else None
        if found is None:
            raise InvalidCredentialError("The token is of no issuer that is known here.")
        issuer, keys = found
        _check_header(header, issuer)
        key_id = header.get("kid")
        key = await keys.key(key_id if isinstance(key_id, str) else None)
        if key is None:
            raise InvalidCredentialError("The token is signed by an unknown key.")
        try:
            claims = jwt.decode(text, key, algorithms=list(issuer.algorithms)).claims
        except (JoseError, ValueError, TypeError) as error:
            raise InvalidCredentialError("The token's signature is wrong.") from error
        return self._principal(claims, issuer)

    def _principal(self, claims: dict[str, Any], issuer: Issuer) -> Principal:
        now = self._clock()
        expires = _time(claims, "exp")
        if expires is None:
            raise InvalidCredentialError("The token says not when it expires.")
        if now >= expires + _LEEWAY_SECONDS:
            raise InvalidCredentialError("The token has expired.")
        begins = _time(claims, "nbf")
        if begins is not None and now < begins - _LEEWAY_SECONDS:
            raise InvalidCredentialError("The token is not valid yet.")
        audience = claims.get("aud")
        if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
            raise InvalidCredentialError("The token is for another audience.")
        subject = claims.get("sub")
        if not (isinstance(subject, str) and 0 < len(subject) <= _MAX_SUBJECT):
            raise InvalidCredentialError("The token names no subject.")
        name = f"{issuer.issuer}#{subject}"
        if not is_owner(name):
            raise InvalidCredentialError("The token's subject has control characters.")
        ends = expires + _LEEWAY_SECONDS
        return Principal(name, _scopes(claims, issuer), expires_at=ends)


def _check_header(header: dict[str, Any], issuer: Issuer) -> None:
    kind = header.get("typ")
    if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
        raise InvalidCredentialError("The token is of another type.")
    if header.get("alg") not in issuer.algorithms:
        raise InvalidCredentialError("The token's algorithm is not allowed.")
    if "crit" in header:
        raise InvalidCredentialError("The token needs an extension that is not known here.")


def _scopes(claims: dict[str, Any], issuer: Issuer) -> frozenset[Scope]:
    given: Any = None
    for name in (issuer.scope_claim,) if issuer.scope_claim else ("scope", "scp"):
        given = given if given is not None else claims.get(name)
    names = given.split() if isinstance(given, str) else given
    if not isinstance(names, list):
        return frozenset()
    return frozenset(_SCOPES[each] for each in names if isinstance(each, str) and each in _SCOPES)


def _time(claims: dict[str, Any], name: str) -> float | None:
    given = claims.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 2**53:
        raise InvalidCredentialError(f"The token's {name} is no time.")
    return float(given)


def _json(part: str) -> dict[str, Any]:
    try:
        said = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError) as error:
        raise InvalidCredentialError("This is neither an API key nor a token.") from error
    if not isinstance(said, dict):
        raise InvalidCredentialError("This is neither an API key nor a token.")
    return said
