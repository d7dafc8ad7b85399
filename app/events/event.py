"""The facts in the topic `image-events`, as CloudEvents 1.0 in JSON.

Hides the event format, which is public: structured mode of the Kafka binding,
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md.
The key of the record and the event's `subject` are the image's id. `imagegateversion` is an
extension attribute: a reader that meets a higher one than it knows must stop, as it might miss a
deletion. Another, `imagegatechunks`, lists the positions of the chunks, as the head does.
The time of an event is the timestamp of its record, by the log's clock.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.errors import ImageNotFoundError, NewerVersionError
from app.imaging.info import ImageInfo
from app.log import Position, Record, StoredRecord
from app.records import address
from app.records.image import list_chunks, parse_chunks

VERSION = 1
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class ImageStored:
    """An image was stored; from now on it is listed.

    `chunks` are the positions of chunks 1…n-1, so that a reader knows when one has left the log.
    """

    image_id: str
    info: ImageInfo
    chunk_bytes: int = 0
    chunks: tuple[Position, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageDeleted:
    """An image was deleted for ever."""

    image_id: str


Event = ImageStored | ImageDeleted


class PoisonEventError(Exception):
    """A record that holds no event of imagegate; the text says why."""


def _check_chunks(text: str) -> str:
    parse_chunks(text)
    return text


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"]
    id: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    subject: str
    imagegateversion: Annotated[int, Field(ge=1)]


class _Stored(_Envelope):
    type: Literal["image.stored"]
    data: ImageInfo
    imagegatechunks: Annotated[str, AfterValidator(_check_chunks)] = "0"


class _Deleted(_Envelope):
    type: Literal["image.deleted"]


class _Version(BaseModel):
    imagegateversion: int


_ENVELOPE: TypeAdapter[_Stored | _Deleted] = TypeAdapter(
    Annotated[_Stored | _Deleted, Field(discriminator="type")]
)


def encode(event: Event) -> Record:
    """Return the record of an event, under an event id of its own."""
    envelope: dict[str, object] = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "urn:imagegate",
        "type": "image.stored" if isinstance(event, ImageStored) else "image.deleted",
        "subject": event.image_id,
        "imagegateversion": VERSION,
    }
    if isinstance(event, ImageStored):
        if event.chunks:
            envelope["imagegatechunks"] = list_chunks(event.chunk_bytes, event.chunks)
        envelope |= {"datacontenttype": "application/json", "data": event.info.as_dict()}
    return Record(
        event.image_id.encode(), json.dumps(envelope).encode(), (("content-type", CONTENT_TYPE),)
    )


def decode(record: StoredRecord) -> Event:
    """Read the event in a record.

    Raises:
        PoisonEventError: The record holds no event of imagegate.
        NewerVersionError: Only a newer version understands the event.
    """
    value = record.value or b""
    try:
        envelope = _ENVELOPE.validate_json(value)
    except ValidationError as error:
        if _version(value) > VERSION:
            raise _newer(record) from error
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, problem["loc"])) or "event"
        raise PoisonEventError(f"{place}: {problem['msg']}") from error
    if envelope.imagegateversion > VERSION:
        raise _newer(record)
    try:
        address.parse(envelope.subject)
    except ImageNotFoundError as error:
        raise PoisonEventError("subject: not an image id") from error
    if isinstance(envelope, _Stored):
        size, chunks = parse_chunks(envelope.imagegatechunks)
        return ImageStored(envelope.subject, envelope.data, size, chunks)
    return ImageDeleted(envelope.subject)


def _version(value: bytes) -> int:
    try:
        return _Version.model_validate_json(value).imagegateversion
    except ValidationError:
        return 0


def _newer(record: StoredRecord) -> NewerVersionError:
    return NewerVersionError(
        f"image-events holds an event of a newer version at offset {record.position.offset};"
        " upgrade imagegate."
    )
