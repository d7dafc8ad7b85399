"""What the log says of a request's path.

Hides that a path may be long, and hold what no log should: a client that encodes the `?` of a
signed link, as some do with addresses in a text, sends its signature as a part of the path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

# A path, or a header, may have 32 KB.
MAX_CHARACTERS = 200
_SECRET = re.compile(r"signature=.*|ig_\w*", re.DOTALL)


def path_of(asgi: Scope) -> str:
    """Return the path of a request, without its query, a signature or an API key."""
    path: str = asgi["path"]
    return _SECRET.sub("…", path)[:MAX_CHARACTERS]
