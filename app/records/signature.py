"""The signature of a record, in its header `imagegate-signature`.

Hides what is signed, which is public (docs/kafka.md): all that the record says, in an encoding that
two different records never share, and nothing that only the log knows, such as its offset. The
signature is `NAME:BASE64`, the name of the key and an HMAC-SHA256 (RFC 2104) by it.

A chunk is not signed: the head names its position, which a writer to the topic cannot change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from app import keyring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from app.log import Record, StoredRecord

HEADER = "imagegate-signature"
# Tells these signatures from whatever else a key may be used for, and this encoding from the next.
_PURPOSE = b"imagegate-record-1"


class Verdict(Enum):
    """The worth of a record's signature."""

    SIGNED = auto()
    UNSIGNED = auto()
    WRONG = auto()


class Signatures:
    """Signs records with the first of `keys`, and recognises the signatures of all of them.

    Attributes:
        fingerprint: A text that tells these keys from others and does not help to find them; empty
            without keys.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self._first = next(iter(self._keys), "")
        self.fingerprint = _fingerprint(self._keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def sign(self, topic: str, record: Record) -> Record:
        """Return the record with its signature; without keys, as it is.

        Args:
            topic: Its topic, without a prefix.
            record: The record, without a signature.
        """
        if not self._keys:
            return record
        mac = self._mac(self._first, topic, record.key, record.value, record.headers)
        signature = self._first.encode() + b":" + mac
        return replace(record, headers=(*record.headers, (HEADER, signature)))

    def verdict(self, topic: str, record: StoredRecord) -> Verdict:
        """Judge a record's signature."""
        given = [value for name, value in record.headers if name == HEADER]
        if not given:
            return Verdict.UNSIGNED
        name, _, claimed = (given[0] or b"").partition(b":")
        key = name.decode("ascii", "replace")
        if len(given) > 1 or key not in self._keys:
            return Verdict.WRONG
        said = ((name, value) for name, value in record.headers if name != HEADER)
        mac = self._mac(key, topic, record.key, record.value, said)
        return Verdict.SIGNED if hmac.compare_digest(mac, claimed) else Verdict.WRONG

    def _mac(
        self,
        key: str,
        topic: str,
        record_key: bytes | None,
        value: bytes | memoryview | None,
        headers: Iterable[tuple[str, bytes | None]],
    ) -> bytes:
        fields = (_PURPOSE, topic.encode(), record_key, value_digest(value), *flat(headers))
        return base64.b64encode(keyring.mac(self._keys[key], fields))


def value_digest(value: bytes | memoryview | None) -> bytes | None:
    """Return the SHA-256 of a record's value, if it has one."""
    return None if value is None else hashlib.sha256(value).digest()


def flat(headers: Iterable[tuple[str, bytes | None]]) -> Iterator[bytes | None]:
    """Yield the name and the value of each header."""
    for name, value in headers:
        yield name.encode()
        yield value


def _fingerprint(keys: Mapping[str, bytes]) -> str:
    if not keys:
        return ""
    fields = []
    for name in sorted(keys):
        fields += [name.encode(), hmac.digest(keys[name], b"imagegate-catalog", "sha256")]
    return hashlib.sha256(b"".join(map(keyring.delimited, fields))).hexdigest()


NO_SIGNATURES = Signatures({})
