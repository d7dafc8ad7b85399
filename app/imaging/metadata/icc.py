"""ICC profiles: what of one says which device it was measured on.

Apple's displays write model, serial number and date into a tag of their own, colour managers a list
of the display's properties into another. Neither has to do with colours, and each becomes empty in
place, so that a profile keeps its length wherever it stands.

Sources: ICC.1:2022, 7.2.18 (profile ID), 7.3 (tag table), 10.9 (dictType); ICC Metadata 1.0.
"""

from __future__ import annotations

import struct

_ID, _TABLE, _ENTRY_BYTES = slice(84, 100), 128, 12

# Of each tag, its type and how many bytes of it stay: the type, and for a dictionary of no entry
# also the length of an entry.
_DEVICE_TAGS = (b"mmod", b"meta")
_TYPE_BYTES = 8
_RECORD_LENGTH = slice(12, 16)

_MAX_TAGS = 200


def anonymous(profile: bytes) -> bytes:
    """Return a profile that does not name a device; itself where it names none."""
    if not any(tag in profile for tag in _DEVICE_TAGS) or len(profile) < _TABLE + 4:
        return profile
    (count,) = struct.unpack_from(">I", profile, _TABLE)
    places = range(_TABLE + 4, len(profile) - _ENTRY_BYTES, _ENTRY_BYTES)[: min(count, _MAX_TAGS)]
    tags = [struct.unpack_from(">4sII", profile, place) for place in places]
    changed = bytearray(profile)
    for name, start, length in tags:
        end = start + length
        others = ((at, at + size) for other, at, size in tags if other not in _DEVICE_TAGS)
        shared = any(at < end and start < stop for at, stop in others)
        if name not in _DEVICE_TAGS or shared or end > len(profile) or start < places.stop:
            continue
        content = bytearray(length)
        content[:_TYPE_BYTES] = profile[start : min(start + _TYPE_BYTES, end)]
        if name == b"meta" and length >= _RECORD_LENGTH.stop:
            content[_RECORD_LENGTH] = profile[start:end][_RECORD_LENGTH]
        changed[start:end] = content
    if changed != profile:
        changed[_ID] = bytes(16)  # not calculated
    return bytes(changed)
