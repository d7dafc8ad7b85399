"""The absolute form of a request's target, as proxies get it: `GET http://host/path`.

Hides it from the application: the authority of the target takes the place of `Host`, whatever that
says, and the path that of the target (RFC 9112, section 3.2.2).
"""

from __future__ import annotations

import re

import h11

_ABSOLUTE = re.compile(rb"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)", re.IGNORECASE)
_SCHEMES = (b"http", b"https")


def with_path(request: h11.Request) -> h11.Request:
    """Return a request whose target is a path, and whose `Host` says where it was sent.

    Raises:
        RemoteProtocolError: The target is of another scheme, or names no host.
    """
    match = _ABSOLUTE.match(request.target)
    if match is None:
        return request
    if match["scheme"].lower() not in _SCHEMES or not match["authority"]:
        raise h11.RemoteProtocolError("the target is no address of HTTP")
    rest = request.target[match.end() :]
    return h11.Request(
        method=request.method,
        headers=[
            (b"host", match["authority"]),
            *((name, value) for name, value in request.headers if name != b"host"),
        ],
        target=rest if rest.startswith(b"/") else b"/" + rest,
        http_version=request.http_version,
    )
