"""The other end of a connection: a client, or a proxy with the requests of many."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from app.client import NOBODY, client_of


def peer_at(address: str, proxies: tuple[str, ...]) -> str:
    """Return the client at an address, or `NOBODY` for a proxy."""
    return NOBODY if is_proxy(address, proxies) else client_of(address)


@lru_cache(maxsize=4096)
def is_proxy(address: str, proxies: tuple[str, ...]) -> bool:
    """Tell whether an address is a proxy's, of these addresses and networks."""
    if not proxies:
        return False
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return any(parsed in ipaddress.ip_network(each) for each in proxies)
