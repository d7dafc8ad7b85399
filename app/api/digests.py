"""Digests of requests and answers (RFC 9530): those that came are verified, those wanted are made.

Hides the structured fields (RFC 9651) in which they are written, and which algorithms are known:
SHA-256 and SHA-512. Others are ignored, as anybody may define some; the insecure ones of section 5
are others. A digest that cannot be read is refused, as its sender meant it to be compared; a wish
that cannot be read is none.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, cast

import http_sf

from app.api import examples
from app.api.headers import RequestHeader, ResponseHeader
from app.errors import InvalidDigestError, UploadAlteredError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import Headers

_CONTENT = "Content-Digest"
_REPR = "Repr-Digest"
GIVEN_CONTENT_DIGEST = RequestHeader(
    _CONTENT,
    "Digest of the body (RFC 9530), `sha-256` or `sha-512`: another body is refused, and nothing of"
    " it is stored but the images of a batch, which its `results` name. Of a form it is that of the"
    " whole form; the part `file` may have one of its own.",
)
GIVEN_REPR_DIGEST = RequestHeader(_REPR, "The same, as an upload is whole.")
WANT_REPR_DIGEST = RequestHeader(
    "Want-Repr-Digest",
    "Algorithms that the client wants in `Repr-Digest`, by weight (RFC 9530): `sha-512=10`.",
)
WANT_CONTENT_DIGEST = RequestHeader(
    "Want-Content-Digest",
    "Algorithms that the client wants in `Content-Digest`, by weight (RFC 9530): `sha-256=10`.",
)
CONTENT_DIGEST = ResponseHeader(
    _CONTENT,
    "Digest of these bytes (RFC 9530). Only where `Want-Content-Digest` asks for it.",
    examples.REPR_DIGEST,
    required=False,
)
# The first is that which an image has in the log.
SHA_256 = "sha-256"
ALGORITHMS = {SHA_256: hashlib.sha256, "sha-512": hashlib.sha512}
# Ten digests by the longest algorithm; a field is read in a millisecond.
_MAX_FIELD_CHARACTERS = 2_048
_MAX_WEIGHT = 10
# A dictionary: values with their parameters.
_Parsed = dict[str, tuple[object, object]]


class GivenDigests:
    """The digests of bytes that are about to come.

    Args:
        fields: Fields that hold some, by their names.

    Raises:
        InvalidDigestError: One cannot be read.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._given = [
            (name, algorithm, digest)
            for name, field in fields.items()
            for algorithm, digest in _digests(name, field).items()
        ]
        # One for an algorithm, however many fields have it.
        self._hashes = {algorithm: ALGORITHMS[algorithm]() for _, algorithm, _ in self._given}

    def update(self, piece: bytes) -> None:
        """Take the next piece into account."""
        for each in self._hashes.values():
            each.update(piece)

    def verify(self) -> None:
        """Check that what came is what was said.

        Raises:
            UploadAlteredError: It is not.
        """
        for name, algorithm, digest in self._given:
            found = self._hashes[algorithm].digest()
            if found != digest:
                raise UploadAlteredError(
                    f"{name}: what came has the digest {field_of(algorithm, found)}."
                )


def given_in(headers: Headers) -> GivenDigests:
    """Return the digests that a request gives of its body.

    Raises:
        InvalidDigestError: One cannot be read.
    """
    return GivenDigests({name: _field(headers, name) for name in (_CONTENT, _REPR)})


def wanted_of_content(headers: Headers) -> str | None:
    """Return the algorithm by which a client wants a digest of an answer's bytes; None if none."""
    return _preferred(_weights(_field(headers, WANT_CONTENT_DIGEST.name)))


def wanted_of_image(headers: Headers) -> str | None:
    """Return the algorithm for the digest of the whole image, which is there unless unwanted."""
    weights = _weights(_field(headers, WANT_REPR_DIGEST.name))
    return _preferred(weights) or (None if SHA_256 in weights else SHA_256)


def field_of(algorithm: str, digest: bytes) -> str:
    """Return the field value of a digest."""
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


def new(algorithm: str) -> hashlib._Hash:
    """Return a digest of nothing, to be updated."""
    return ALGORITHMS[algorithm]()


def of_content(headers: Headers, body: bytes) -> dict[str, str]:
    """Return the header with the digest of an answer's body, if the client wants it."""
    algorithm = wanted_of_content(headers)
    if algorithm is None:
        return {}
    return {CONTENT_DIGEST.name: field_of(algorithm, ALGORITHMS[algorithm](body).digest())}


def _field(headers: Headers, name: str) -> str:
    # RFC 9110, section 5.3: several lines are one list.
    return ", ".join(headers.getlist(name))


def _digests(name: str, field: str) -> dict[str, bytes]:
    """Return the digests of known algorithms in a field."""
    try:
        members = _members(field)
    except ValueError as error:
        raise InvalidDigestError(f"{name}: not a dictionary of RFC 9651.") from error
    known = {each: members[each] for each in ALGORITHMS if each in members}
    for algorithm, digest in known.items():
        size = ALGORITHMS[algorithm]().digest_size
        if not isinstance(digest, bytes) or len(digest) != size:
            raise InvalidDigestError(
                f"{name}: {algorithm} is not {size} bytes in Base64 between colons."
            )
    return {each: digest for each, digest in known.items() if isinstance(digest, bytes)}


def _weights(field: str) -> dict[str, int]:
    """Return the weight of each known algorithm that a field names; none of one without sense."""
    if not field:
        return {}
    try:
        members = _members(field)
    except ValueError:
        return {}
    return {
        each: weight
        for each in ALGORITHMS
        if type(weight := members.get(each)) is int and 0 <= weight <= _MAX_WEIGHT
    }


def _preferred(weights: Mapping[str, int]) -> str | None:
    best = max(weights, key=weights.__getitem__, default=None)
    return best if best is not None and weights[best] else None


def _members(field: str) -> dict[str, object]:
    """Return the members of a dictionary, without their parameters.

    Raises:
        ValueError: It is none, or too long.
    """
    if len(field) > _MAX_FIELD_CHARACTERS:
        raise ValueError("too long")
    if not field:
        return {}
    parsed = cast("_Parsed", http_sf.parse(field.encode("latin-1"), tltype="dictionary"))
    return {name: value for name, (value, _) in parsed.items()}
