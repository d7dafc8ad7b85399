"""The rules for file names and other short texts that are shown to people and put into headers.

Hides which characters are harmful there. An upload's name is made to fit (`app.api.body`); a name
from the log has to fit already.
"""

from __future__ import annotations

import re
import unicodedata

# File systems and headers are comfortable with this.
MAX_FILENAME_CHARACTERS = 200
# An issuer of tokens has 500 and a subject 255 at most. All are 12,000 bytes of an event at most.
MAX_OWNER_CHARACTERS = 1_000
# A device or a place: names of cameras, serial numbers, URNs of a UUID.
MAX_SOURCE_CHARACTERS = 64
# Control characters, and those that reverse the direction of what follows: `gpj.exe` backwards.
HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Halves of characters beyond 16 bits, which UTF-8 cannot hold.
_HALVES = re.compile(r"[\ud800-\udfff]")
_FOLDERS = re.compile(r"[/\\]")
_LABEL = re.compile(r"[\x20-\x7e]{1,100}")


def is_filename(text: str) -> bool:
    """Tell whether this can be the file name of an upload, cleaned."""
    return (
        0 < len(text) <= MAX_FILENAME_CHARACTERS
        and _is_harmless(text)
        and _FOLDERS.search(text) is None
    )


def is_owner(text: str) -> bool:
    """Tell whether this can be the name of a principal, and so of an image's owner."""
    return 0 < len(text) <= MAX_OWNER_CHARACTERS and _is_harmless(text)


def is_source(text: str) -> bool:
    """Tell whether this can name the source of an image."""
    return 0 < len(text) <= MAX_SOURCE_CHARACTERS and _is_harmless(text)


def source_of(given: str) -> str:
    """Return a source as it is stored and compared: two spellings of one name are the same.

    Raises:
        ValueError: It is none.
    """
    source = unicodedata.normalize("NFC", given).strip()
    if not is_source(source):
        raise ValueError(
            f"should be 1 to {MAX_SOURCE_CHARACTERS} characters without control characters"
        )
    return source


def is_label(text: str) -> bool:
    """Tell whether this can name a profile, a codec or the like: up to 100 ASCII characters."""
    return _LABEL.fullmatch(text) is not None


def _is_harmless(text: str) -> bool:
    return HARMFUL.search(text) is None and _HALVES.search(text) is None
