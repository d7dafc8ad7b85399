"""The seal of an image, as its records and its event state it.

Hides what is bound to what is encrypted, which is public (docs/kafka.md), so that nothing of a
record can be changed, and no record be taken for another. A part of the image is bound to its
topic, cookie and number, the number and the size of the parts, and all headers of its head but
those that say where it is and in which letters. The fields that name somebody are bound to their
record: in a head to its headers, in an event to its value, which has the image's id.

Which key it is, `app.records.stated_key` says.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app import keyring
from app.imaging.names import is_filename
from app.log import IMAGES
from app.records.signature import HEADER as SIGNATURE
from app.records.signature import flat, value_digest
from app.records.stated_key import ADDRESS_VERSION, header_of, stated_in
from app.records.strict_json import parse_object
from app.records.value import HEADER as TRANSFER_ENCODING
from app.records.value import Part, ValueEncoding
from app.sealing import envelope
from app.sealing.envelope import TAG_BYTES
from app.sealing.wrapped_key import WrappedKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.log import StoredRecord
    from app.records.stated_key import ImageKey, StatedKey

# The lowest whose readers know seals: others would serve noise.
VERSION = 4
ENCRYPTION = "imagegate-encryption"
FIELDS = "imagegate-sealed"
CHUNKS = "imagegate-chunks"
# Known only once the parts are sealed, or about the form of the record.
_UNBOUND = {CHUNKS, SIGNATURE, TRANSFER_ENCODING}
_PART_PURPOSE = b"imagegate-part-1"
_FIELDS_PURPOSE = b"imagegate-fields-1"
# A file name of 200 characters, each written as twelve, is below 3,000.
_MAX_FIELDS_BYTES = 8_192

_Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """The properties of an image that may name somebody."""

    filename: str | None = None


class Seal:
    """The seal of the parts of one image.

    Args:
        key: The image's data key.
        record_key: The key of its head.
        headers: The headers of its head; those that are not bound do not matter.
        count: The number of its parts.
        chunk_bytes: The size of a part but the last, where there are several.
    """

    def __init__(
        self,
        key: bytes,
        record_key: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        count: int,
        chunk_bytes: int,
    ) -> None:
        self._key = key
        self._before = _delimited(_PART_PURPOSE, IMAGES.encode(), record_key)
        size = chunk_bytes if count > 1 else 0
        self._after = _delimited(b"%d" % count, b"%d" % size, *flat(_bound(headers)))

    def sealed(self, number: int, part: memoryview) -> memoryview:
        """Return part `number`, sealed; once for each."""
        return memoryview(envelope.seal_part(self._key, number, part, self.bound(number)))

    def opened(self, number: int, part: Part) -> Part:
        """Return part `number`, of which `part` is the sealed form.

        Raises:
            BrokenSealError: It is another one, or the head is another one.
        """
        sealed = part.value if part.encoding is ValueEncoding.RAW else part.read(0, part.length)
        opened = envelope.open_part(self._key, number, sealed, self.bound(number))
        return Part(opened, part.length - TAG_BYTES, ValueEncoding.RAW)

    def bound(self, number: int) -> bytes:
        """Return that to which part `number` is bound: no two parts share it, of any images."""
        return self._before + _delimited(b"%d" % number) + self._after


@dataclass(frozen=True, slots=True)
class SealedHead:
    """The headers of the head of an image that is to be sealed, and the seal of its parts."""

    headers: _Headers
    seal: Seal


@dataclass(frozen=True, slots=True)
class Sealing:
    """A record's statement of its seal.

    Args:
        key: The statement of the image's key.
        record_key: The key of the record.
        headers: Its headers.
        fields: The sealed fields.
        bound: That to which they are bound.
    """

    key: StatedKey
    record_key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    fields: bytes
    bound: bytes

    @property
    def version(self) -> int:
        """The lowest version whose readers know such a seal."""
        return version_of(self.key)

    def open_fields(self, key: bytes) -> Fields:
        """Return the fields.

        Raises:
            BrokenSealError: The record is not the one that was sealed.
            ValueError: They are none.
        """
        found = parse_object(
            envelope.open_fields(key, self.fields, self.bound), _MAX_FIELDS_BYTES
        ).get("filename")
        if found is not None and not (isinstance(found, str) and is_filename(found)):
            raise ValueError("filename: not one that a gateway writes")
        return Fields(found)

    def seal_of_parts(self, key: bytes, count: int, chunk_bytes: int) -> Seal:
        """Return the seal of the parts of the image whose head this is."""
        return Seal(key, self.record_key, self.headers, count, chunk_bytes)


def version_of(key: StatedKey) -> int:
    """Return the lowest version whose readers know a seal by a key that is stated so."""
    return VERSION if isinstance(key, WrappedKey) else ADDRESS_VERSION


def with_fields(
    topic: str,
    record_key: bytes,
    value: bytes | None,
    headers: _Headers,
    key: ImageKey,
    fields: Fields,
) -> _Headers:
    """Return the headers of a record, and those that say that it is sealed.

    Args:
        topic: Its topic, without a prefix.
        record_key: Its key.
        value: Its value; None for a head, whose value is sealed for itself.
        headers: Its headers.
        key: The key of its image.
        fields: The fields to seal.
    """
    headers += ((ENCRYPTION, envelope.ALGORITHM.encode()), header_of(key.stated))
    bound = _fields_bound(topic, record_key, value, headers)
    text = json.dumps({"filename": fields.filename}).encode()
    sealed = envelope.seal_fields(key.plain, text, bound)
    return (*headers, (FIELDS, base64.b64encode(sealed)))


def sealing_of(topic: str, record: StoredRecord) -> Sealing | None:
    """Return what a record says of its seal; None if it has none.

    Raises:
        ValueError: It is malformed.
    """
    algorithm, fields, key = record.header(ENCRYPTION), record.header(FIELDS), stated_in(record)
    if algorithm is None and fields is None and key is None:
        return None
    if algorithm != envelope.ALGORITHM.encode():
        raise ValueError(f"{ENCRYPTION}: not {envelope.ALGORITHM}")
    if key is None:
        raise ValueError("sealed, without a key")
    value = None if topic == IMAGES else record.value or b""
    return Sealing(
        key,
        record.key,
        record.headers,
        base64.b64decode(fields or b"", validate=True),
        _fields_bound(topic, record.key, value, record.headers),
    )


def _fields_bound(
    topic: str,
    record_key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> bytes:
    stated = [(name, text) for name, text in _bound(headers) if name != FIELDS]
    return _delimited(
        _FIELDS_PURPOSE, topic.encode(), record_key, value_digest(value), *flat(stated)
    )


def _bound(headers: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    return [(name, text) for name, text in headers if name not in _UNBOUND]


def _delimited(*fields: bytes | None) -> bytes:
    return b"".join(map(keyring.delimited, fields))
