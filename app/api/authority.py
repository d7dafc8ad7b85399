"""Hosts and origins: their syntax, in requests and in settings.

Hides how spellings of one host or one origin are compared: letter case, a trailing dot, an IPv6
address in brackets, the port of the scheme (RFC 9110, sections 4.2 and 7.2; RFC 6454, section 4).
What no browser sends, such as user information or `%`, is no host: it is refused, not interpreted.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

# A name has 253 characters at most (RFC 1035), and the port five.
_MAX_LENGTH = 260
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::(?P<port>[0-9]{0,5}))?",
    re.IGNORECASE | re.ASCII,
)
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/]+)", re.IGNORECASE | re.ASCII
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Authority:
    """A host, and the port where one is given.

    Args:
        host: In lower case, without a trailing dot; an IPv6 address without its brackets.
        port: None where it is that of the scheme.
    """

    host: str
    port: int | None

    @property
    def is_address(self) -> bool:
        """Tell whether the host is an IP address, which no name server can point elsewhere."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def origin(self, scheme: str) -> str:
        """Return the origin of this authority under a scheme, as browsers spell it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port is None or self.port == _PORTS.get(scheme):
            return f"{scheme}://{host}"
        return f"{scheme}://{host}:{self.port}"


def parse(text: str) -> Authority | None:
    """Return the authority that a `Host` header spells; None where it is none."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or len(text) > _MAX_LENGTH:
        return None
    host, port = match["host"].lower().removesuffix("."), match["port"]
    if host.startswith("["):
        try:
            host = ipaddress.IPv6Address(host[1:-1]).compressed
        except ValueError:
            return None
    return Authority(host, int(port) if port else None)


def origin(text: str) -> str | None:
    """Return an origin as browsers spell it; None for `null`, and where it is none."""
    match = _ORIGIN.fullmatch(text)
    authority = parse(match["authority"]) if match else None
    return authority.origin(match["scheme"].lower()) if match and authority else None


def is_loopback(host: str) -> bool:
    """Tell whether a server on this address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
