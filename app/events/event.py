"""The facts in the topic `image-events`, as CloudEvents 1.0 in JSON.

Hides the event format, which is public: structured mode of the Kafka binding,
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md.
The key of the record and the event's `subject` are the image's id. `imagegateversion` is an
extension attribute: a reader that meets a higher one than it knows must stop, as it might miss a
deletion. `imagegatechunks` lists the positions of the chunks, and `imagegateclaim` is the use of an
upload link, as in the head. What names somebody is sealed if the image is (`app.records.seal`).
An event's `time` is by the gateway's clock, for readers that know nothing of Kafka. The gateway
itself goes by the timestamp of the record, by the log's clock, which all gateways share.

A record is believed no more than a request. `_Envelope` is what every version keeps: nothing else
can stop a reader. A type that is not known, at a version that is, belongs to a later release; what
may be ignored carries a version that older readers know.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Predicate
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.errors import ImageNotFoundError, NewerVersionError
from app.imaging.info import ImageInfo, Visibility, is_owner_or_empty
from app.imaging.names import is_label
from app.log import EVENTS, MAX_OFFSETS, MAX_PARTITIONS, Position, Record, StoredRecord
from app.records import address, chunk_list, claim, seal
from app.records.image import check_lengths, version_of
from app.records.seal import Fields, Sealing
from app.records.strict_json import first_problem, parse_object

if TYPE_CHECKING:
    from app.records.claim import Claim
    from app.sealing.wrapped_key import DataKey

# The highest that is known; an event has the lowest that says what it says (`_version_of`).
VERSION = 4
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
# Some 1,100 are usual; the list of chunks of the largest upload has 45,000 at the most.
MAX_BYTES = 65_536
# More than anyone will count to, and exact in every reader of JSON.
_MAX_VERSION = 2**31 - 1
# The subject of an event that is about no image: no record is the head of one with this id.
_NO_IMAGE = "a" * 32
_TYPE = re.compile(r"image\.[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ImageStored:
    """An image was stored; from now on it is listed.

    `chunks` are the positions of chunks 1…n-1, so that a reader knows when one has left the log.
    With a `claim` it is listed only if that counts. `sealing` has what its properties lack.
    """

    image_id: str
    info: ImageInfo
    chunk_bytes: int = 0
    chunks: tuple[Position, ...] = ()
    claim: Claim | None = None
    sealing: Sealing | None = None


@dataclass(frozen=True, slots=True)
class ImageDeleted:
    """An image was deleted for ever.

    Its owner and visibility say who is told of it, even where nothing else is left of the image,
    and its claim counts even where a log has erased the event that made it.
    """

    image_id: str
    owner: str = ""
    visibility: Visibility | None = None
    claim: Claim | None = None


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


Event = ImageStored | ImageDeleted | SigningBegan


class PoisonEventError(Exception):
    """A record that holds no event of imagegate; the text says why."""


def _is_type(text: str) -> bool:
    return _TYPE.fullmatch(text) is not None


def _check_id(text: str) -> str:
    try:
        address.parse(text)
    except ImageNotFoundError as error:
        raise ValueError("not an image id") from error
    return text


class _Envelope(BaseModel):
    """The attributes that an event of every version has, however new."""

    model_config = ConfigDict(frozen=True, strict=True)

    specversion: Literal["1.0"]
    id: Annotated[str, Predicate(is_label)]
    source: Literal["urn:imagegate"]
    type: Annotated[str, Predicate(_is_type)]
    subject: Annotated[str, AfterValidator(_check_id)]
    imagegateversion: Annotated[int, Field(ge=1, le=_MAX_VERSION)]


class _Claimed(BaseModel):
    """The member of the events of an image that came by a link."""

    model_config = ConfigDict(frozen=True, strict=True)

    imagegateclaim: str = ""


class _Stored(_Claimed):
    """The members of `image.stored` beside its envelope."""

    data: ImageInfo
    imagegatechunks: str = ""


class _Deleted(_Claimed):
    """The members of `image.deleted` beside its envelope."""

    imagegateowner: Annotated[str, Predicate(is_owner_or_empty)] = ""
    imagegatevisibility: Visibility | None = None


class _Ends(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    images: Annotated[
        list[Annotated[int, Field(ge=0, lt=MAX_OFFSETS)]], Field(max_length=MAX_PARTITIONS)
    ]


class _Began(BaseModel):
    """The member of `image.signing-began` beside its envelope."""

    model_config = ConfigDict(frozen=True, strict=True)

    data: _Ends


def encode(event: Event, key: DataKey | None = None) -> Record:
    """Return the record of an event, under an event id of its own; `key` is a sealed image's."""
    fields = Fields()
    if key is not None and isinstance(event, ImageStored):
        fields = Fields(event.info.filename)
        event = replace(event, info=replace(event.info, filename=None))
    match event:
        case ImageStored(subject):
            kind, more = "image.stored", _about(event)
        case ImageDeleted(subject, owner, visibility):
            kind = "image.deleted"
            more = _given(imagegateowner=owner, imagegatevisibility=visibility) | _claimed(event)
        case SigningBegan(ends):
            kind, more, subject = "image.signing-began", _data({"images": ends}), _NO_IMAGE
    envelope = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "urn:imagegate",
        "type": kind,
        "subject": subject,
        "time": _now(),
        "imagegateversion": _version_of(event, sealed=key is not None),
        **more,
    }
    headers: tuple[tuple[str, bytes], ...] = (("content-type", CONTENT_TYPE),)
    value = json.dumps(envelope).encode()
    if key is not None:
        headers = seal.with_fields(EVENTS, subject.encode(), value, headers, key, fields)
    return Record(subject.encode(), value, headers)


def _now() -> str:
    """Return the time by the gateway's clock, as RFC 3339 writes it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _version_of(event: Event, *, sealed: bool = False) -> int:
    """Return the lowest version whose readers understand an event."""
    match event:
        case ImageStored() if sealed:
            return seal.VERSION
        case ImageStored():
            return version_of(event.info, event.claim)
        case ImageDeleted() | SigningBegan():
            return 1


def _about(event: ImageStored) -> dict[str, object]:
    chunks = chunk_list.write(event.chunk_bytes, event.chunks) if event.chunks else ""
    info = event.info.as_dict()
    owned = _given(owner=info.pop("owner"), visibility=info.pop("visibility"))
    return _given(imagegatechunks=chunks) | _claimed(event) | _data(info | owned)


def _claimed(event: ImageStored | ImageDeleted) -> dict[str, object]:
    return {"imagegateclaim": claim.write(event.claim)} if event.claim else {}


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
        parse_object(value, MAX_BYTES)
        envelope = _Envelope.model_validate_json(value)
        if envelope.imagegateversion > VERSION:
            raise _newer(record)
        match envelope.type:
            case "image.stored":
                sealing = seal.sealing_of(EVENTS, record)
                return _stored(envelope, _Stored.model_validate_json(value), sealing)
            case "image.deleted":
                return _deleted(envelope.subject, _Deleted.model_validate_json(value))
            case "image.signing-began":
                return SigningBegan(tuple(_Began.model_validate_json(value).data.images))
        return UnknownEvent(envelope.subject, envelope.type)
    except ValidationError as error:
        raise PoisonEventError(first_problem(error)) from error
    except ValueError as error:
        raise PoisonEventError(f"event: {error}") from error


def _stored(envelope: _Envelope, stored: _Stored, sealing: Sealing | None) -> ImageStored:
    check_lengths(stored.data, stored.data.stored_bytes)
    try:
        chunk_bytes, chunks = chunk_list.parse(stored.imagegatechunks, stored.data.stored_bytes)
    except ValueError as error:
        raise PoisonEventError(f"imagegatechunks: {error}") from error
    event = ImageStored(envelope.subject, stored.data, chunk_bytes, chunks, _claim(stored), sealing)
    if envelope.imagegateversion < _version_of(event, sealed=sealing is not None):
        raise PoisonEventError("imagegateversion: lower than what the event says needs")
    return event


def _deleted(image_id: str, deleted: _Deleted) -> ImageDeleted:
    owner, visibility = deleted.imagegateowner, deleted.imagegatevisibility
    return ImageDeleted(image_id, owner, visibility, _claim(deleted))


def _claim(members: _Claimed) -> Claim | None:
    try:
        return claim.parse(members.imagegateclaim) if members.imagegateclaim else None
    except ValueError as error:
        raise PoisonEventError(f"imagegateclaim: {error}") from error


def _newer(record: StoredRecord) -> NewerVersionError:
    return NewerVersionError(
        f"image-events holds an event of a newer version at offset {record.position.offset};"
        " upgrade imagegate."
    )
