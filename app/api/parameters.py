"""The parameters of a Content-Type or a Content-Disposition.

Hides their syntax (RFC 9110, section 5.6.6), and the ways in which clients write a file name that
is not ASCII: as UTF-8, as Latin-1, as mail does (RFC 2047), percent-encoded (RFC 5987). One regular
expression reads each byte once, whatever a client sends: python-multipart needs 2 µs a semicolon.
"""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from itertools import islice
from urllib.parse import unquote_to_bytes

# Content-Disposition has three, Content-Type one.
_MAX_PARAMETERS = 16
# An unclosed quotation runs to the end, so that none is looked at twice.
_PARAMETER = re.compile(
    rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]++|\\.?)*+)(?:"|\Z)|([^;]*))', re.DOTALL
)
# One word of RFC 2047 or several, in the charsets that need no table.
_ENCODED_WORDS = re.compile(
    rb"(?:=\?(?:utf-8|iso-8859-1|us-ascii)\?[bq]\?[!->@-~]*\?=[ \t]*)+", re.IGNORECASE
)
# RFC 5987, section 3.2.1; RFC 8187 leaves only the first.
_CHARSETS = {b"utf-8", b"iso-8859-1"}


def parse_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return what is before the first semicolon, and the parameters; names in lower case."""
    parameters = {}
    for match in islice(_PARAMETER.finditer(value), _MAX_PARAMETERS):
        name, quoted, plain = match.groups()
        if quoted is None:
            parameters[name.lower()] = plain.strip()
        else:
            parameters[name.lower()] = quoted.replace(b"\\\\", b"\\").replace(b'\\"', b'"')
    return value.partition(b";")[0].strip().lower(), parameters


def filename_of(parameters: dict[bytes, bytes]) -> str | None:
    """Return the file name of a Content-Disposition, None if it has none.

    RFC 7578 forbids `filename*` in forms. .NET sends it all the same, in front of which it writes
    the name as mail does, and older `requests` sends nothing else.
    """
    extended = _decode_extended(parameters.get(b"filename*", b""))
    if extended is not None or b"filename" not in parameters:
        return extended
    return _decode(parameters[b"filename"])


def _decode_extended(value: bytes) -> str | None:
    """Decode `charset'language'percent-encoded`; None if it is not of this form."""
    charset, _, rest = value.partition(b"'")
    _, quote, encoded = rest.partition(b"'")
    if not quote or charset.lower() not in _CHARSETS:
        return None
    return unquote_to_bytes(encoded).decode(charset.decode("ascii"), "replace")


def _decode(value: bytes) -> str:
    words = _decode_words(value)
    if words is not None:
        return words
    # Browsers and curl write a quotation mark like this (HTML standard, multipart/form-data), and
    # send UTF-8 as it is (RFC 7578, section 5.1.1). What is no UTF-8 comes from older programs.
    value = value.replace(b"%22", b'"')
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _decode_words(value: bytes) -> str | None:
    """Decode what consists of words of RFC 2047; None if it does not."""
    if not _ENCODED_WORDS.fullmatch(value):
        return None
    try:
        words = decode_header(value.decode("ascii"))
    except HeaderParseError:  # not base64
        return None
    return "".join(
        word if isinstance(word, str) else word.decode(charset or "ascii", "replace")
        for word, charset in words
    )
