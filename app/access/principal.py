"""A principal: who sent a request, as far as the gateway knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.access.scopes import Scope

if TYPE_CHECKING:
    from app.access.grant import Grant


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request, and what it may do.

    Args:
        name: `key:` and the id of a key, or the issuer and the subject of a token, joined by `#`;
            empty for a client that showed no credential.
        scopes: Its rights.
        grant: What the link allows, if it showed one: the scopes count for that alone.
        expires_at: When its token no longer counts, in seconds since 1970; None if it has none.
    """

    name: str
    scopes: frozenset[Scope]
    grant: Grant | None = None
    expires_at: float | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether it has a right."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def owns(self, owner: str) -> bool:
        """Tell whether an image of this owner is its own; every one is an administrator's."""
        return Scope.ADMIN in self.scopes or (bool(owner) and owner == self.name)

    @property
    def confined_to(self) -> str | None:
        """The owner whose images alone it lists and follows; None if it is everyone's."""
        return None if Scope.ADMIN in self.scopes else self.name


ANONYMOUS = Principal("", frozenset())
# Any client of a gateway without authentication.
ANYONE = Principal("", frozenset({Scope.ADMIN}))
