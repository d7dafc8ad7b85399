"""A claim: the use of an upload link, which the head of an image and its event state.

Hides its text, `LINK,USES,EXPIRES`. The log decides which claims count, by its order: the first
ones of a link, as many as it has uses. So an image with a claim is stored only once its event is
found to be among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLAIM = re.compile(r"([A-Za-z0-9_-]{16}),([1-9][0-9]{0,5}),([1-9][0-9]{0,11})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """The use of a link.

    Args:
        link: The id of the link.
        uses: How many images it may store.
        expires_at: When it ends, in seconds since 1970.
    """

    link: str
    uses: int
    expires_at: int


def write(claim: Claim) -> str:
    """Return the text of a claim."""
    return f"{claim.link},{claim.uses},{claim.expires_at}"


def parse(text: str) -> Claim:
    """Read a claim.

    Raises:
        ValueError: The text is none.
    """
    if not (found := _CLAIM.fullmatch(text)):
        raise ValueError("not LINK,USES,EXPIRES")
    return Claim(found[1], int(found[2]), int(found[3]))
