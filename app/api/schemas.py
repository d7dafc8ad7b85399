"""The JSON of images: views of `ImageInfo`, with a description for each property."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from app.api import examples
from app.api.openapi.components import example, following, leading_to
from app.api.openapi.enumerations import PROFILE, VISIBILITY
from app.records.address import PATTERN

if TYPE_CHECKING:
    from app.catalog.images import CatalogImage
    from app.imaging.info import ImageInfo
    from app.ingest.upload import StoredUpload


def _is_unset(given: object) -> bool:
    return not given


EXAMPLE = example("image", "A JPEG", examples.IMAGE)
# The calls that an image leads to.
LINKS = following(
    {"image_id": "$response.body#/id"},
    "describeImage",
    "downloadImage",
    "headImage",
    "deleteImage",
)
# As addresses have it; not checked, as ids are the gateway's own.
ID: dict[str, Any] = {"pattern": f"^{PATTERN}$"}
CURSOR: dict[str, Any] = {"pattern": "^[A-Za-z0-9_-]{2,26}$"}
# Forms send what was not filled in as an empty text.
GIVEN_CURSOR: dict[str, Any] = {"pattern": "^([A-Za-z0-9_-]{2,26})?$"}


class Receipt(BaseModel):
    """The uploaded bytes, and how they were stored."""

    received_bytes: int = Field(
        description="Size of the upload.", examples=[examples.RECEIVED_BYTES]
    )
    stored_bytes: int = Field(
        description="Size in the log, before Base64.", examples=[examples.CONTENT_LENGTH]
    )
    received_digest: str = Field(
        description="SHA-256 of the upload.", examples=[examples.RECEIVED_DIGEST]
    )
    codec: str = Field(
        description="How the stored bytes were encoded; `original` if they were not.",
        examples=[examples.CODEC],
    )
    kept: bool = Field(
        description="Whether the image is the upload itself, less its metadata, and was not encoded"
        " again.",
        examples=[False],
    )
    metadata_removed: list[str] = Field(
        description="Metadata of the upload that the image no longer has: `exif`, `gps`,"
        " `maker-note`, `thumbnail`, `xmp`, `extended-xmp`, `iptc`, `photoshop`, `comment`, `text`,"
        " `copyright`, `date` (of a track), `trailer` (data after the picture), `other`;"
        " `exif-partly`, `xmp-partly`,"
        " `iptc-partly` where a part stays.",
        examples=[examples.METADATA_REMOVED],
    )
    quality: float | None = Field(
        description="Similarity of the image to the upload (SSIMULACRA2 of a part of it; 100: no"
        " difference, 90: no visible one, 70: high quality); null if it is not measured.",
        examples=[examples.QUALITY],
    )
    metadata: str = Field(
        "",
        description="The option of the upload that says which metadata stays. Missing in an image"
        " of an earlier release.",
        examples=[examples.METADATA],
        exclude_if=_is_unset,
    )


class Image(BaseModel):
    """A stored image."""

    id: str = Field(
        description="Id of the image, for ever.",
        examples=[examples.IMAGE_ID],
        json_schema_extra=ID,
    )
    url: str = Field(description="Path of the image.", examples=[examples.IMAGE_PATH])
    sequence: int | None = Field(
        description="Place in the order of all events; null while it is not known yet.",
        examples=[examples.SEQUENCE],
    )
    created_at: datetime | None = Field(
        description="Time of storing, by the log's clock; null while it is not known yet. Of"
        " an image that was moved here from another log, the time of storing there.",
        examples=[examples.CREATED_AT],
    )
    content_type: str = Field(
        description="Content type of the image as served.", examples=[examples.CONTENT_TYPE]
    )
    content_length: int = Field(
        description="Size of the image as served.", examples=[examples.CONTENT_LENGTH]
    )
    digest: str = Field(description="SHA-256 of the image as served.", examples=[examples.DIGEST])
    width: int = Field(description="Width in pixels, as displayed.", examples=[examples.WIDTH])
    height: int = Field(description="Height in pixels, as displayed.", examples=[examples.HEIGHT])
    frame_count: int = Field(description="1 unless it is animated.", examples=[1])
    filename: str | None = Field(
        description="Name of the uploaded file, without folders; null if it had none.",
        examples=[examples.FILENAME],
    )
    profile: str = Field(
        description="Profile of the upload.", json_schema_extra=leading_to(PROFILE)
    )
    receipt: Receipt
    owner: str = Field(
        "",
        description="The uploader: `key:` and the id of the API key, or issuer, `#` and subject of"
        " the token. Missing where no credential was needed.",
        examples=[examples.OWNER],
        exclude_if=_is_unset,
    )
    visibility: Annotated[str, Field(json_schema_extra=leading_to(VISIBILITY))] | None = Field(
        None,
        description="Who may read it: `public`, `authenticated` or `owner`. Missing where the"
        " server's rule says.",
        examples=[examples.VISIBILITY],
        exclude_if=_is_unset,
    )
    expires_at: datetime | None = Field(
        None,
        description="When it will be gone, a 410. Missing where it is kept for ever.",
        examples=[examples.EXPIRES_AT],
        exclude_if=_is_unset,
    )
    source: str = Field(
        "",
        description="The camera or device that it is from, as the upload said. Missing where it"
        " said none.",
        examples=[examples.SOURCE],
        exclude_if=_is_unset,
    )
    former_ids: list[Annotated[str, Field(json_schema_extra=ID)]] = Field(
        [],
        description="Ids that it had in other logs, from which it was moved here: each still means"
        " this image. Missing where it had none.",
        examples=[[examples.FORMER_ID]],
        exclude_if=_is_unset,
    )


class ImagePage(BaseModel):
    """A page of the list of images, newest first."""

    images: list[Image] = Field(description="At most `limit` images.")
    next_cursor: Annotated[str, Field(json_schema_extra=CURSOR)] | None = Field(
        description="Send it as `cursor` for the next page; null on the last one.",
        examples=[examples.CURSOR],
    )


def listed(image: CatalogImage) -> Image:
    """Return the JSON of an image in the catalog."""
    return described(image.id, image.info, image)


def described(
    image_id: str,
    info: ImageInfo,
    listed: CatalogImage | None = None,
) -> Image:
    """Return the JSON of an image that may not be in the catalog yet."""
    properties = info.as_dict()
    properties["digest"] = f"sha256:{info.digest}"
    properties["received_digest"] = f"sha256:{info.received_digest}"
    if info.expires_at is not None:
        properties["expires_at"] = datetime.fromtimestamp(info.expires_at, UTC)
    return Image(
        id=image_id,
        url=path_of(image_id),
        sequence=None if listed is None else listed.sequence,
        created_at=None if listed is None else _time(listed.created_at_ms),
        former_ids=[] if listed is None else list(listed.former_ids),
        receipt=Receipt(**properties),
        **properties,
    )


def stored(upload: StoredUpload) -> Image:
    """Return the JSON of an image that was just stored."""
    return described(upload.image_id, upload.info, upload.listed)


def _time(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def path_of(image_id: str) -> str:
    """Return the path at which an image is served."""
    return f"/images/{image_id}"
