"""An image as records in the topic `images`.

Hides the record format, which is public: any Kafka client can read a picture with it.

- The *head* has the cookie (hex) as its key. Its value is the image, or the image's first chunk.
  Its headers say what it is; `content-type`, `content-length` and `content-digest` (RFC 9530) are
  those of the image as served.
  Where what is stored is not what is served, but packed, `content-encoding` names how, and
  `imagegate-stored-length` says how many bytes lie in the log.
- *Chunks* 1…n-1 have the key `cookie/n` and the header `imagegate-chunk: n`. The head's header
  `imagegate-chunks` lists `chunk size,partition:offset,…`. The head is written last: it commits.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from app.errors import ImageNotFoundError, NewerVersionError
from app.imaging.info import ImageInfo
from app.log import MAX_OFFSETS, MAX_PARTITIONS, Position, Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.records.address import Address

VERSION = 1
# With key and headers it fits the 1 MiB that Kafka takes for a batch by default.
CHUNK_BYTES = 1_000_000
# What a head record needs beside its chunk: 8 KiB of metadata, the list of chunks (some 12 bytes
# each) and the other headers.
_HEADERS_BYTES = 32_768


# Lepton, which is all there is, or nothing: what a newer version makes is not for this one.
_ENCODINGS = {"", "lepton"}


@dataclass(frozen=True, slots=True)
class Head:
    """A head record, read: what the image is, and where its chunks 1…n-1 lie."""

    info: ImageInfo
    chunk_bytes: int
    chunks: tuple[Position, ...]


INFO = TypeAdapter(ImageInfo)
# These have headers of their own, for readers that know nothing of imagegate.
_HEADER_FIELDS = {"content_type", "content_length", "digest", "content_encoding"}


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
    """Return the record that commits the image, once its chunks lie at these positions."""
    headers = [
        ("content-type", info.content_type.encode()),
        ("content-length", b"%d" % info.content_length),
        ("content-digest", digest_field(info.digest).encode()),
        ("imagegate-version", b"%d" % VERSION),
        ("imagegate-meta", INFO.dump_json(info, exclude=_HEADER_FIELDS)),
    ]
    if info.content_encoding:
        headers.append(("content-encoding", info.content_encoding.encode()))
        headers.append(("imagegate-stored-length", b"%d" % info.stored_bytes))
    if chunks:
        headers.append(("imagegate-chunks", list_chunks(size, chunks).encode()))
    return Record(cookie.hex().encode(), data[:size], tuple(headers))


def parse_head(record: StoredRecord) -> Head:
    """Read a head record.

    Raises:
        ImageNotFoundError: The record is not one of ours.
        NewerVersionError: A newer version wrote it.
    """
    try:
        version = int(record.header("imagegate-version") or b"")
        if version > VERSION:
            raise NewerVersionError("The image was written by a newer version of imagegate.")
        fields = json.loads(record.header("imagegate-meta") or b"") | {
            "content_type": (record.header("content-type") or b"").decode(),
            "content_length": int(record.header("content-length") or b""),
            "digest": _digest_hex(record.header("content-digest") or b""),
            "content_encoding": (record.header("content-encoding") or b"").decode(),
        }
        if fields["content_encoding"] not in _ENCODINGS:
            raise NewerVersionError("The image is packed in a way that only a newer version knows.")
        size, chunks = parse_chunks((record.header("imagegate-chunks") or b"0").decode())
        return Head(INFO.validate_python(fields), size, chunks)
    except (ValueError, TypeError, RecursionError) as error:
        raise ImageNotFoundError from error


def list_chunks(size: int, chunks: Sequence[Position]) -> str:
    """Return where the chunks 1…n-1 of `size` bytes lie, as header and event say it."""
    return ",".join([str(size), *map(str, chunks)])


def parse_chunks(text: str) -> tuple[int, tuple[Position, ...]]:
    """Read what `list_chunks` wrote.

    Raises:
        ValueError: It did not.
    """
    size, *chunks = text.split(",")
    return int(size), tuple(_position(chunk) for chunk in chunks)


def is_chunk(record: StoredRecord, address: Address, number: int) -> bool:
    """Check that a record is the chunk of this image that it should be."""
    return record.key == _chunk_key(address.cookie, number)


def digest_field(digest: str) -> str:
    """Return a SHA-256 in hex as a field value of RFC 9530, section 2."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def _digest_hex(field: bytes) -> str:
    digest = base64.b64decode(field.removeprefix(b"sha-256=:").removesuffix(b":"), validate=True)
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("not a SHA-256")
    return digest.hex()


def _chunk_key(cookie: bytes, number: int) -> bytes:
    return f"{cookie.hex()}/{number}".encode()


def _position(text: str) -> Position:
    partition, _, offset = text.partition(":")
    position = Position(int(partition), int(offset))
    # What an id could not hold cannot be there, whoever wrote it.
    if not (0 <= position.partition < MAX_PARTITIONS and 0 <= position.offset < MAX_OFFSETS):
        raise ValueError("no position")
    return position
