"""A client, as shares and limits count it: the address that requests come from.

Hides which addresses are one client: an IPv6 network of 64 bits is, as a provider gives each
customer at least that (RFC 6177). An address behind a proxy that the operator trusts is what the
proxy says, before it gets here.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a proxy says may be any text.
_MAX_CHARACTERS = 64
_IPV6_PREFIX = 64
# Some 300 bytes each.
_REMEMBERED = 4_096
# Of a socket without addresses, and of work that is nobody's in particular.
NOBODY = "-"


def client_in(scope: Mapping[str, Any]) -> str:
    """Return the client that sent a request, whose ASGI scope this is."""
    if named := scope.get("state", {}).get("client"):
        # Who showed a credential is one client, whatever address it comes from.
        return str(named)
    return address_in(scope)


def address_in(scope: Mapping[str, Any]) -> str:
    """Return the client at the address that sent a request, whatever credential it showed."""
    address = scope.get("client")
    return client_of(address[0] if address else "")


# Parsing one takes Python 5 us, twice a request.
@lru_cache(_REMEMBERED)
def client_of(address: str) -> str:
    """Return the client that an address belongs to: an IPv4 address or an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_CHARACTERS] or NOBODY
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))
