"""The members of events, as they are read: each is checked before it is believed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from annotated_types import Predicate
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.errors import ImageNotFoundError
from app.imaging.info import (
    ImageInfo,
    Visibility,
    is_owner_or_empty,
    is_sha_256,
    is_source_or_empty,
)
from app.imaging.names import is_label
from app.log import MAX_OFFSETS, MAX_PARTITIONS
from app.records import address

# More than anyone will count to, and exact in every reader of JSON.
_MAX_VERSION = 2**31 - 1
_TYPE = re.compile(r"image\.[a-z0-9][a-z0-9._-]{0,63}")


def _is_type(text: str) -> bool:
    return _TYPE.fullmatch(text) is not None


def _check_id(text: str) -> str:
    try:
        address.parse(text)
    except ImageNotFoundError as error:
        raise ValueError("not an image id") from error
    return text


def _is_digest_or_empty(text: str) -> bool:
    return not text or is_sha_256(text)


_DigestOrEmpty = Annotated[str, Predicate(_is_digest_or_empty)]


class Envelope(BaseModel):
    """The attributes that an event of every version has, however new."""

    model_config = ConfigDict(frozen=True, strict=True)

    specversion: Literal["1.0"]
    id: Annotated[str, Predicate(is_label)]
    source: Literal["urn:imagegate"]
    type: Annotated[str, Predicate(_is_type)]
    subject: Annotated[str, AfterValidator(_check_id)]
    imagegateversion: Annotated[int, Field(ge=1, le=_MAX_VERSION)]


class ClaimedMembers(BaseModel):
    """The members of the events of an image that came by a link, or under an idempotency key."""

    model_config = ConfigDict(frozen=True, strict=True)

    imagegateclaim: str = ""
    imagegateidempotency: _DigestOrEmpty = ""


class StoredMembers(ClaimedMembers):
    """The members of `image.stored` beside its envelope."""

    data: ImageInfo
    imagegatechunks: str = ""
    imagegatefingerprint: _DigestOrEmpty = ""


class MovedMembers(StoredMembers):
    """The members of `image.moved` beside its envelope."""

    imagegateformerids: str
    imagegatecreatedat: str


class StoredEvent(Envelope, StoredMembers):
    """An `image.stored` as a whole, for one check in place of two."""


class DeletedMembers(ClaimedMembers):
    """The members of `image.deleted` beside its envelope."""

    imagegateformerids: str = ""
    imagegatecreatedat: str = ""
    imagegateowner: Annotated[str, Predicate(is_owner_or_empty)] = ""
    imagegatevisibility: Visibility | None = None
    imagegatesource: Annotated[str, Predicate(is_source_or_empty)] = ""


class _KeyAddresses(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    old: str = Field(alias="from")
    new: str = Field(alias="to")


class RewrappedMembers(BaseModel):
    """The member of `image.rewrapped` beside its envelope."""

    model_config = ConfigDict(frozen=True, strict=True)

    data: _KeyAddresses


class _Ends(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    images: Annotated[
        list[Annotated[int, Field(ge=0, lt=MAX_OFFSETS)]], Field(max_length=MAX_PARTITIONS)
    ]


class BeganMembers(BaseModel):
    """The member of `image.signing-began` beside its envelope."""

    model_config = ConfigDict(frozen=True, strict=True)

    data: _Ends
