"""The facts in the topic `image-events`, as CloudEvents 1.0 in JSON.

Hides the event format, which is public: structured mode of the Kafka binding,
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md.
The key of the record and the event's `subject` are the image's id. `imagegateversion` is an
extension attribute: a reader that meets a higher one than it knows must stop, as it might miss a
deletion. `imagegatechunks` lists the positions of the chunks, and `imagegateclaim` is the use of an
upload link, as in the head. `imagegateidempotency` and `imagegatefingerprint` are there where the
client sent an `Idempotency-Key` (`app.events.idempotency`): of several images with one token only
the first exists. What names somebody is sealed if the image is (`app.records.seal`).
`image.moved` says all that `image.stored` says, of an image that was brought from another log, and
which ids it had there (`app.events.move`).
`image.rewrapped` says that the key of an image is in another record now, wrapped by another key.
An event's `time` is by the gateway's clock, for readers that know nothing of Kafka. The gateway
itself goes by the timestamp of the record, by the log's clock, which all gateways share.

A record is believed no more than a request. `Envelope` is what every version keeps: nothing else
can stop a reader. A type that is not known, at a version that is, belongs to a later release; what
may be ignored carries a version that older readers know.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from app.errors import NewerVersionError
from app.events import move, rewrapped
from app.events.idempotency import FormerToken, Idempotency
from app.events.members import (
    BeganMembers,
    ClaimedMembers,
    DeletedMembers,
    Envelope,
    MovedMembers,
    RewrappedMembers,
    StoredEvent,
    StoredMembers,
)
from app.events.move import Move
from app.events.rewrapped import ImageRewrapped
from app.log import EVENTS, Position, Record, StoredRecord
from app.records import chunk_list, claim, seal
from app.records.image import check_lengths
from app.records.seal import Fields, Sealing
from app.records.stated_key import ADDRESS_VERSION, ImageKey
from app.records.strict_json import first_problem, parse_object
from app.records.version import version_of

if TYPE_CHECKING:
    from app.imaging.info import ImageInfo, Visibility
    from app.records.claim import Claim

# The highest that is known; an event has the lowest that says what it says (`_version_of`).
VERSION = 7
# The lowest whose readers find an image by an id that it had in another log.
_MOVE_VERSION = 3
# The lowest whose readers know that the image of a token may not be the one that exists.
_TOKEN_VERSION = 7
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
# Some 1,100 are usual; the list of chunks of the largest upload has 45,000 at the most.
MAX_BYTES = 65_536
# The properties that are left out where they say nothing.
_UNSAID = ("owner", "visibility", "expires_at", "source", "metadata", "expires_in")
# The subject of an event that is about no image: no record is the head of one with this id.
_NO_IMAGE = "a" * 32


@dataclass(frozen=True, slots=True)
class ImageStored:
    """An image was stored; from now on it is listed.

    `chunks` are the positions of chunks 1…n-1, so that a reader knows when one has left the log.
    With a `claim` it is listed only if that counts. With a `move` it was not uploaded, but brought
    from another log: its claim counted there. With an `idempotency` it is listed only if no other
    image has its token. What is said of a sealed image is sealed with its `key`; what was read has
    a `sealing`, which holds what its properties lack.
    """

    image_id: str
    info: ImageInfo
    chunk_bytes: int = 0
    chunks: tuple[Position, ...] = ()
    claim: Claim | None = None
    move: Move | None = None
    key: ImageKey | None = None
    sealing: Sealing | None = None
    idempotency: Idempotency | None = None

    @property
    def type(self) -> str:
        """The type of the event."""
        return "image.stored" if self.move is None else "image.moved"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the image: that of this log, and those of others."""
        return (self.image_id, *(self.move.former_ids if self.move else ()))


@dataclass(frozen=True, slots=True)
class ImageDeleted:
    """An image was deleted for ever.

    Its owner and visibility say who is told of it, even where nothing else is left of the image,
    and its claim and its token count even where a log has erased the event that made it. The ids
    that it had in other logs are those of a deleted image too. Its source says who is told of it,
    too.
    """

    image_id: str
    owner: str = ""
    visibility: Visibility | None = None
    claim: Claim | None = None
    former_ids: tuple[str, ...] = ()
    source: str = ""
    former_token: FormerToken | None = None


@dataclass(frozen=True, slots=True)
class SigningBegan:
    """Records without a signature are strangers' from here on.

    That is behind this event, and in each partition of `images` from its offset in `ends` on.
    """

    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A fact of a later release, which a reader of this one may ignore."""

    image_id: str
    type: str


Event = ImageStored | ImageDeleted | ImageRewrapped | SigningBegan


class PoisonEventError(Exception):
    """A record that holds no event of imagegate; the text says why."""


def encode(event: Event) -> Record:
    """Return the record of an event, under an event id of its own."""
    match event:
        case ImageStored(subject):
            kind, more = event.type, _about(event)
        case ImageDeleted(subject, owner, visibility):
            kind = "image.deleted"
            more = _given(imagegateowner=owner, imagegatevisibility=visibility)
            more |= _given(imagegatesource=event.source) | _claimed(event)
            more |= _given(imagegateformerids=move.write_ids(event.former_ids))
            more |= _once_stored(event.former_token)
        case ImageRewrapped(subject):
            kind, more = "image.rewrapped", _data(event.data())
        case SigningBegan(ends):
            kind, more, subject = "image.signing-began", _data({"images": ends}), _NO_IMAGE
    envelope = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "urn:imagegate",
        "type": kind,
        "subject": subject,
        "time": move.write_time(time.time_ns() // 1_000_000),
        "imagegateversion": _version_of(event),
        **more,
    }
    headers: tuple[tuple[str, bytes], ...] = (("content-type", CONTENT_TYPE),)
    value = json.dumps(envelope).encode()
    if isinstance(event, ImageStored) and event.key is not None:
        fields = Fields(event.info.filename)
        headers = seal.with_fields(EVENTS, subject.encode(), value, headers, event.key, fields)
    return Record(subject.encode(), value, headers)


def _version_of(event: Event) -> int:
    """Return the lowest version whose readers understand an event."""
    match event:
        case ImageStored():
            lowest = version_of(event.info, event.claim)
            token = _TOKEN_VERSION if event.idempotency else 1
            moved = _MOVE_VERSION if event.move else 1
            return max(lowest, token, moved, _seal_version(event))
        case ImageDeleted(former_ids=[_, *_]):
            return _MOVE_VERSION
        case ImageRewrapped():
            # Others would look for the key where it was.
            return ADDRESS_VERSION
        case ImageDeleted() | SigningBegan():
            return 1


def _seal_version(event: ImageStored) -> int:
    if event.sealing is not None:
        return event.sealing.version
    return seal.version_of(event.key.stated) if event.key else 1


def _about(event: ImageStored) -> dict[str, object]:
    chunks = chunk_list.write(event.chunk_bytes, event.chunks) if event.chunks else ""
    info = event.info.as_dict() | ({"filename": None} if event.key else {})
    owned = _given(**{name: info.pop(name) for name in _UNSAID})
    moved = event.move.members() if event.move else {}
    return {
        **_given(imagegatechunks=chunks),
        **_claimed(event),
        **_once(event.idempotency),
        **moved,
        **_data(info | owned),
    }


def _claimed(event: ImageStored | ImageDeleted) -> dict[str, object]:
    return {"imagegateclaim": claim.write(event.claim)} if event.claim else {}


def _once(idempotency: Idempotency | None) -> dict[str, object]:
    if idempotency is None:
        return {}
    return {
        "imagegateidempotency": idempotency.token,
        "imagegatefingerprint": idempotency.fingerprint,
    }


def _once_stored(former: FormerToken | None) -> dict[str, object]:
    if former is None:
        return {}
    return {
        "imagegateidempotency": former.token,
        "imagegatecreatedat": move.write_time(former.stored_at_ms),
    }


def _given(**members: object) -> dict[str, object]:
    """Return the members that say something."""
    return {name: value for name, value in members.items() if value}


def _data(members: object) -> dict[str, object]:
    return {"datacontenttype": "application/json", "data": members}


def decode(record: StoredRecord) -> Event | UnknownEvent:
    """Read the event in a record.

    Raises:
        PoisonEventError: The record holds no event of imagegate.
        NewerVersionError: Only a newer version understands the event.
    """
    value = record.value or b""
    try:
        members = parse_object(value, MAX_BYTES)
        return _usual(members, value, record) or _any(value, record)
    except ValidationError as error:
        raise PoisonEventError(first_problem(error)) from error
    except ValueError as error:
        raise PoisonEventError(f"event: {error}") from error


def _usual(members: dict[str, object], value: bytes, record: StoredRecord) -> ImageStored | None:
    """Return a stored image whose members all pass; None has what is wrong found one by one.

    Nearly all events are of this kind: one pass of a model is cheaper than two.
    """
    if members.get("type") != "image.stored":
        return None
    try:
        whole = StoredEvent.model_validate_json(value)
    except ValidationError:
        return None
    return _stored(whole, whole, record) if whole.imagegateversion <= VERSION else None


def _any(value: bytes, record: StoredRecord) -> Event | UnknownEvent:
    envelope = Envelope.model_validate_json(value)
    if envelope.imagegateversion > VERSION:
        raise _newer(record)
    match envelope.type:
        case "image.stored":
            return _stored(envelope, StoredMembers.model_validate_json(value), record)
        case "image.moved":
            return _moved(envelope, MovedMembers.model_validate_json(value), record)
        case "image.deleted":
            return _deleted(envelope, DeletedMembers.model_validate_json(value))
        case "image.rewrapped":
            members = RewrappedMembers.model_validate_json(value)
            event = rewrapped.parse(envelope.subject, members)
            _check_version(envelope, event)
            return event
        case "image.signing-began":
            return SigningBegan(tuple(BeganMembers.model_validate_json(value).data.images))
    return UnknownEvent(envelope.subject, envelope.type)


def _stored(
    envelope: Envelope, stored: StoredMembers, record: StoredRecord, moved: Move | None = None
) -> ImageStored:
    check_lengths(stored.data, stored.data.stored_bytes)
    try:
        chunk_bytes, chunks = chunk_list.parse(stored.imagegatechunks, stored.data.stored_bytes)
    except ValueError as error:
        raise PoisonEventError(f"imagegatechunks: {error}") from error
    event = ImageStored(
        envelope.subject,
        stored.data,
        chunk_bytes,
        chunks,
        _claim(stored),
        moved,
        sealing=seal.sealing_of(EVENTS, record),
        idempotency=_idempotency(stored) if moved is None else None,
    )
    _check_version(envelope, event)
    return event


def _moved(envelope: Envelope, moved: MovedMembers, record: StoredRecord) -> ImageStored:
    former = move.parse_ids(moved.imagegateformerids, envelope.subject)
    if not former:
        raise PoisonEventError("imagegateformerids: none")
    created_at_ms = move.parse_time(moved.imagegatecreatedat)
    return _stored(envelope, moved, record, Move(former, created_at_ms))


def _deleted(envelope: Envelope, deleted: DeletedMembers) -> ImageDeleted:
    owner, visibility = deleted.imagegateowner, deleted.imagegatevisibility
    former = move.parse_ids(deleted.imagegateformerids, envelope.subject)
    source, token = deleted.imagegatesource, _former_token(deleted)
    event = ImageDeleted(
        envelope.subject, owner, visibility, _claim(deleted), former, source, token
    )
    _check_version(envelope, event)
    return event


def _check_version(envelope: Envelope, event: Event) -> None:
    if envelope.imagegateversion < _version_of(event):
        raise PoisonEventError("imagegateversion: lower than what the event says needs")


def _claim(members: ClaimedMembers) -> Claim | None:
    try:
        return claim.parse(members.imagegateclaim) if members.imagegateclaim else None
    except ValueError as error:
        raise PoisonEventError(f"imagegateclaim: {error}") from error


def _idempotency(members: StoredMembers) -> Idempotency | None:
    token, fingerprint = members.imagegateidempotency, members.imagegatefingerprint
    if not token and not fingerprint:
        return None
    if not (token and fingerprint):
        raise PoisonEventError("imagegateidempotency: without imagegatefingerprint, or only that")
    return Idempotency(token, fingerprint)


def _former_token(members: DeletedMembers) -> FormerToken | None:
    if not members.imagegateidempotency:
        return None
    stored_at_ms = move.parse_time(members.imagegatecreatedat)
    return FormerToken(members.imagegateidempotency, stored_at_ms)


def _newer(record: StoredRecord) -> NewerVersionError:
    return NewerVersionError(
        f"image-events holds an event of a newer version at offset {record.position.offset};"
        " upgrade imagegate."
    )
