"""An image as records in the topic `images`.

Hides the record format, which is public: any Kafka client can read a picture with it.

- The *head* has the cookie (hex) as its key. Its value is the image, or the image's first chunk.
  Its headers are the properties of the image: `content-type`, `content-length` and `content-digest`
  (RFC 9530) of the image as served, and the others as JSON in `imagegate-meta`. If the image is
  stored packed, `content-encoding` names the packing, and `imagegate-stored-length` the number of
  bytes stored.
- *Chunks* 1…n-1 have the key `cookie/n` and the header `imagegate-chunk: n`. The head's header
  `imagegate-chunks` lists `chunk size,partition:offset,…`. The head is written last: it commits.
- Values are as they are, or in Base64, as `content-transfer-encoding` of head and chunks says
  (`app.records.value`). All numbers of bytes are those of the image, or of what it is packed to.
- A head with `imagegate-claim` is that of an image only if the claim counts (`app.records.claim`).
- Each value of a sealed image is encrypted for itself (`app.records.seal`), and only then encoded.

- `imagegate-owner`, `imagegate-visibility`, `imagegate-expires-at` and `imagegate-source` are there
  where the image has them.

`imagegate-version` stops readers that are older than the format: `version_of` says what they would
misread. A property that is added to `ImageInfo` is in the meta without a change here.

A record is believed no more than a request: each of its parts has to be one that this file would
have written, and they have to agree. Only members of the meta and headers that are not known here
are ignored, as a later release may have added them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from app.errors import NewerVersionError
from app.imaging.formats import ImageFormat
from app.imaging.info import ImageInfo
from app.log import IMAGES, Position, Record, StoredRecord
from app.records import chunk_list, claim, seal, views
from app.records.seal import Fields, Seal, SealedHead, Sealing
from app.records.strict_json import first_problem, parse_object
from app.records.value import Part, ValueEncoding, encoding_of, is_in
from app.records.version import VERSION, version_of, version_of_values
from app.records.views import number as parse_number
from app.sealing.envelope import ALGORITHM, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.records.address import Address
    from app.records.claim import Claim
    from app.records.stated_key import ImageKey

# With key and headers it fits the 1 MiB that Kafka allows for a batch by default.
CHUNK_BYTES = 1_000_000
# A head record's bytes beside its chunk: 8 KiB of metadata, the list of chunks (some 12 bytes each)
# and the other headers.
_HEADERS_BYTES = 32_768
# In Base64 there are more chunks to list, as each holds less: 3,210 of the largest upload where a
# topic allows the least.
_HEADERS_BYTES_BASE64 = 48_000
# None or Lepton; a newer version may pack in another way.
_ENCODINGS = {"", "lepton"}
# Some 1,000 are usual, with the longest file name 2,000.
_MAX_META_BYTES = 8_192
INFO = TypeAdapter(ImageInfo)
_PROPERTIES = {each.name for each in fields(ImageInfo)}


@dataclass(frozen=True, slots=True)
class Head:
    """The contents of a head record: properties of the image, and positions of chunks 1…n-1.

    With a `claim` it is served only if its event was found to count.
    """

    info: ImageInfo
    chunk_bytes: int
    chunks: tuple[Position, ...]
    claim: Claim | None = None
    encoding: ValueEncoding = ValueEncoding.RAW
    sealing: Sealing | None = None

    def seal(self, key: bytes) -> Seal:
        """Return the seal of the parts of this image, which is sealed, by its data key."""
        if self.sealing is None:
            raise ValueError("not sealed")
        return self.sealing.seal_of_parts(key, len(self.chunks) + 1, self.chunk_bytes)

    def value_bytes(self, part_bytes: int) -> int:
        """Return how many bytes of a value, before its encoding, hold a part of so many."""
        return part_bytes if self.sealing is None else part_bytes + TAG_BYTES


class UnfitRecordError(Exception):
    """A record that is no part of an image of imagegate's; the text says why."""


def chunk_bytes(
    max_record_bytes: int, encoding: ValueEncoding = ValueEncoding.RAW, *, sealed: bool = False
) -> int:
    """Return how many bytes of an image go into one record of a log with this limit.

    Never less than a reader believes: a topic whose limit was lowered too far refuses the records.
    """
    is_raw = encoding is ValueEncoding.RAW
    room = max_record_bytes - (_HEADERS_BYTES if is_raw else _HEADERS_BYTES_BASE64)
    most = encoding.part_bytes(min(CHUNK_BYTES, room)) - (TAG_BYTES if sealed else 0)
    return max(most, chunk_list.MIN_CHUNK_BYTES)


def chunk_records(cookie: bytes, data: memoryview, size: int) -> list[Record]:
    """Return the records of chunks 1…n-1 as they are, none when the image fits its head."""
    return list(encoded_chunks(cookie, data, size, ValueEncoding.RAW))


def sealed_head(
    cookie: bytes, info: ImageInfo, size: int, claimed: Claim | None, key: ImageKey
) -> SealedHead:
    """Return what seals an image that is cut into parts of `size`, by a key of its own."""
    version = max(seal.version_of(key.stated), version_of(info, claimed))
    public = _headers(replace(info, filename=None), claimed, version)
    record_key = cookie.hex().encode()
    headers = seal.with_fields(IMAGES, record_key, None, public, key, Fields(info.filename))
    count = -(-info.stored_bytes // size)
    return SealedHead(headers, Seal(key.plain, record_key, headers, count, size))


def encoded_chunks(
    cookie: bytes,
    data: memoryview,
    size: int,
    encoding: ValueEncoding,
    sealed: SealedHead | None = None,
) -> Iterator[Record]:
    """Yield the records of chunks 1…n-1, each sealed and encoded when it is its turn."""
    for number, start in enumerate(range(size, len(data), size), start=1):
        headers = (
            ("imagegate-version", b"%d" % version_of_values(encoding, sealed=sealed is not None)),
            ("imagegate-chunk", b"%d" % number),
            *([(seal.ENCRYPTION, ALGORITHM.encode())] if sealed else []),
            *encoding.headers,
        )
        value = _value_of(data[start : start + size], number, encoding, sealed)
        yield Record(_chunk_key(cookie, number), value, headers)


def _value_of(
    part: memoryview, number: int, encoding: ValueEncoding, sealed: SealedHead | None
) -> bytes | memoryview:
    return encoding.value_of(sealed.seal.sealed(number, part) if sealed else part)


def head_record(
    cookie: bytes,
    data: memoryview,
    info: ImageInfo,
    size: int,
    chunks: Sequence[Position],
    claimed: Claim | None = None,
    encoding: ValueEncoding = ValueEncoding.RAW,
    sealed: SealedHead | None = None,
) -> Record:
    """Return the record that commits the image, once its chunks are stored at these positions."""
    version = max(version_of(info, claimed), version_of_values(encoding))
    headers = list(sealed.headers if sealed else _headers(info, claimed, version))
    headers += encoding.headers
    if chunks:
        headers.append((seal.CHUNKS, chunk_list.write(size, chunks).encode()))
    value = _value_of(data[:size], 0, encoding, sealed)
    return Record(cookie.hex().encode(), value, tuple(headers))


def _headers(info: ImageInfo, claimed: Claim | None, version: int) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a head that say what the image is."""
    headers = [
        views.CONTENT_TYPE.of(info),
        views.CONTENT_LENGTH.of(info),
        views.DIGEST.of(info),
        ("imagegate-version", b"%d" % version),
        ("imagegate-meta", INFO.dump_json(info, exclude=views.VIEWED | _unsaid(info))),
    ]
    if info.content_encoding:
        headers.append(views.CONTENT_ENCODING.of(info))
        headers.append(("imagegate-stored-length", b"%d" % info.stored_bytes))
    headers += [view.of(info) for view in views.OPTIONAL if getattr(info, view.field)]
    if claimed:
        headers.append(("imagegate-claim", claim.write(claimed).encode()))
    return tuple(headers)


def _unsaid(info: ImageInfo) -> set[str]:
    """Return the options of the upload that say nothing."""
    return {name for name in ("metadata", "expires_in") if not getattr(info, name)}


def parse_head(record: StoredRecord) -> Head:
    """Read a head record.

    Raises:
        UnfitRecordError: The record is no head of imagegate's.
        NewerVersionError: A newer version wrote it.
    """
    try:
        return _head(record)
    except ValidationError as error:
        raise UnfitRecordError(first_problem(error)) from error
    except (ValueError, RecursionError) as error:
        raise UnfitRecordError(str(error)) from error


def _head(record: StoredRecord) -> Head:
    version = parse_number(record.header("imagegate-version") or b"")
    if version > VERSION:
        raise NewerVersionError("The image was written by a newer version of imagegate.")
    members = parse_object(record.header("imagegate-meta") or b"", _MAX_META_BYTES)
    members |= {view.field: view.parse(record.header(view.header) or b"") for view in views.VIEWS}
    if members["content_encoding"] not in _ENCODINGS:
        raise NewerVersionError("The image is packed in a way that only a newer version knows.")
    known = {name: value for name, value in members.items() if name in _PROPERTIES}
    info = INFO.validate_json(json.dumps(known), strict=True)
    stored_length = record.header("imagegate-stored-length")
    check_lengths(
        info, info.content_length if stored_length is None else parse_number(stored_length)
    )
    listed = (record.header(seal.CHUNKS) or b"").decode("ascii")
    size, chunks = chunk_list.parse(listed, info.stored_bytes)
    encoding = encoding_of(record)
    sealing = seal.sealing_of(IMAGES, record)
    stated = record.header("imagegate-claim")
    claimed = None if stated is None else claim.parse(stated.decode("ascii"))
    needed = max(version_of(info, claimed), version_of_values(encoding))
    if version < max(needed, sealing.version if sealing else 0):
        raise ValueError("of a version that could not say this")
    head = Head(info, size, chunks, claimed, encoding, sealing)
    head_part(record, head).check()
    return head


def check_lengths(info: ImageInfo, stored_length: int) -> None:
    """Check that the lengths of an image agree.

    Raises:
        ValueError: They do not.
    """
    if stored_length != info.stored_bytes:
        raise ValueError("two stored lengths")
    if not info.content_encoding:
        if info.stored_bytes != info.content_length:
            raise ValueError("stored_bytes is not content_length, and the image is not packed")
    elif info.content_type != ImageFormat.JPEG.content_type:
        raise ValueError("packed, and no JPEG")


def is_chunk(record: StoredRecord, address: Address, number: int) -> bool:
    """Tell whether a record is chunk `number` of this image."""
    return record.key == _chunk_key(address.cookie, number)


def head_part(record: StoredRecord, head: Head) -> Part:
    """Return the part of an image in the head record that `parse_head` has read."""
    length = head.chunk_bytes or head.info.stored_bytes
    return Part(record.value or b"", head.value_bytes(length), head.encoding)


def chunk_part(record: StoredRecord, address: Address, head: Head, number: int) -> Part:
    """Return the part of an image in the record of its chunk `number`.

    Raises:
        UnfitRecordError: The record is another one, or not as the head says.
    """
    if not (is_chunk(record, address, number) and is_in(record, head.encoding)):
        raise UnfitRecordError(f"the record at {record.position} is not its chunk {number}")
    left = head.info.stored_bytes - number * head.chunk_bytes
    length = head.value_bytes(min(head.chunk_bytes, left))
    part = Part(record.value or b"", length, head.encoding)
    try:
        part.check()
    except ValueError as error:
        raise UnfitRecordError(f"the chunk {number} at {record.position}: {error}") from error
    return part


def _chunk_key(cookie: bytes, number: int) -> bytes:
    return f"{cookie.hex()}/{number}".encode()
