"""An image as records in the topic `images`.

Hides the record format, which is public: any Kafka client can read a picture with it.

- The *head* has the cookie (hex) as its key. Its value is the image, or the image's first chunk.
  Its headers are the properties of the image: `content-type`, `content-length` and `content-digest`
  (RFC 9530) of the image as served, and the others as JSON in `imagegate-meta`. If the image is
  stored packed, `content-encoding` names the packing, and `imagegate-stored-length` the number of
  bytes stored.
- *Chunks* 1…n-1 have the key `cookie/n` and the header `imagegate-chunk: n`. The head's header
  `imagegate-chunks` lists `chunk size,partition:offset,…`. The head is written last: it commits.

`imagegate-version` stops readers that are older than the format. A property that is added to
`ImageInfo` is in the meta without a change here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter

from app.errors import ImageNotFoundError, NewerVersionError
from app.imaging.info import ImageInfo
from app.log import MAX_OFFSETS, MAX_PARTITIONS, Position, Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.records.address import Address

VERSION = 1
# With key and headers it fits the 1 MiB that Kafka allows for a batch by default.
CHUNK_BYTES = 1_000_000
# A head record's bytes beside its chunk: 8 KiB of metadata, the list of chunks (some 12 bytes each)
# and the other headers.
_HEADERS_BYTES = 32_768
# None or Lepton; a newer version may pack in another way.
_ENCODINGS = {"", "lepton"}
INFO = TypeAdapter(ImageInfo)


@dataclass(frozen=True, slots=True)
class Head:
    """The contents of a head record: properties of the image, and positions of chunks 1…n-1."""

    info: ImageInfo
    chunk_bytes: int
    chunks: tuple[Position, ...]


def chunk_bytes(max_record_bytes: int) -> int:
    """Return how many bytes of an image go into one record of a log with this limit."""
    return min(CHUNK_BYTES, max_record_bytes - _HEADERS_BYTES)


def chunk_records(cookie: bytes, data: memoryview, size: int) -> list[Record]:
    """Return the records of chunks 1…n-1, none when the image fits its head."""
    return [
        Record(
            _chunk_key(cookie, number),
            data[start : start + size],
            (("imagegate-version", b"%d" % VERSION), ("imagegate-chunk", b"%d" % number)),
        )
        for number, start in enumerate(range(size, len(data), size), start=1)
    ]


def head_record(
    cookie: bytes, data: memoryview, info: ImageInfo, size: int, chunks: Sequence[Position]
) -> Record:
    """Return the record that commits the image, once its chunks are stored at these positions."""
    headers = [
        _CONTENT_TYPE.of(info),
        _CONTENT_LENGTH.of(info),
        _DIGEST.of(info),
        ("imagegate-version", b"%d" % VERSION),
        ("imagegate-meta", INFO.dump_json(info, exclude=_VIEWED)),
    ]
    if info.content_encoding:
        headers.append(_CONTENT_ENCODING.of(info))
        headers.append(("imagegate-stored-length", b"%d" % info.stored_bytes))
    if chunks:
        headers.append(("imagegate-chunks", list_chunks(size, chunks).encode()))
    return Record(cookie.hex().encode(), data[:size], tuple(headers))


def parse_head(record: StoredRecord) -> Head:
    """Read a head record.

    Raises:
        ImageNotFoundError: The record is no head of imagegate's.
        NewerVersionError: A newer version wrote it.
    """
    try:
        version = int(record.header("imagegate-version") or b"")
        if version > VERSION:
            raise NewerVersionError("The image was written by a newer version of imagegate.")
        fields = json.loads(record.header("imagegate-meta") or b"")
        fields |= {view.field: view.parse(record.header(view.header) or b"") for view in _VIEWS}
        if fields["content_encoding"] not in _ENCODINGS:
            raise NewerVersionError("The image is packed in a way that only a newer version knows.")
        size, chunks = parse_chunks((record.header("imagegate-chunks") or b"0").decode())
        return Head(INFO.validate_python(fields), size, chunks)
    except (ValueError, TypeError, RecursionError) as error:
        raise ImageNotFoundError from error


def list_chunks(size: int, chunks: Sequence[Position]) -> str:
    """Return the positions of chunks 1…n-1, each of `size` bytes, as header and event list them."""
    return ",".join([str(size), *map(str, chunks)])


def parse_chunks(text: str) -> tuple[int, tuple[Position, ...]]:
    """Read a list that `list_chunks` wrote.

    Raises:
        ValueError: The text is not such a list.
    """
    size, *chunks = text.split(",")
    return int(size), tuple(_position(chunk) for chunk in chunks)


def is_chunk(record: StoredRecord, address: Address, number: int) -> bool:
    """Tell whether a record is chunk `number` of this image."""
    return record.key == _chunk_key(address.cookie, number)


def digest_field(digest: str) -> str:
    """Return a SHA-256 in hex as a field value of RFC 9530, section 2."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def _chunk_key(cookie: bytes, number: int) -> bytes:
    return f"{cookie.hex()}/{number}".encode()


def _position(text: str) -> Position:
    partition, _, offset = text.partition(":")
    position = Position(int(partition), int(offset))
    # An id has no room for another partition or offset, so no record is stored there.
    if not (0 <= position.partition < MAX_PARTITIONS and 0 <= position.offset < MAX_OFFSETS):
        raise ValueError("no position")
    return position


def _digest_hex(field: bytes) -> str:
    digest = base64.b64decode(field.removeprefix(b"sha-256=:").removesuffix(b":"), validate=True)
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("not a SHA-256")
    return digest.hex()


class _View(NamedTuple):
    """A header that holds one property, for readers that know nothing of imagegate."""

    field: str
    header: str
    render: Callable[[Any], bytes]
    parse: Callable[[bytes], object]

    def of(self, info: ImageInfo) -> tuple[str, bytes]:
        return self.header, self.render(getattr(info, self.field))


_CONTENT_TYPE = _View("content_type", "content-type", str.encode, bytes.decode)
_CONTENT_LENGTH = _View("content_length", "content-length", lambda length: b"%d" % length, int)
_DIGEST = _View(
    "digest", "content-digest", lambda digest: digest_field(digest).encode(), _digest_hex
)
_CONTENT_ENCODING = _View("content_encoding", "content-encoding", str.encode, bytes.decode)
_VIEWS = (_CONTENT_TYPE, _CONTENT_LENGTH, _DIGEST, _CONTENT_ENCODING)
_VIEWED = {view.field for view in _VIEWS}
