"""`OPTIONS /images`: the limits of uploads here, so that a client need not find them by trying."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.api import body, digests
from app.api.guard import open_to_all
from app.api.headers import ALLOW, ResponseHeader
from app.api.openapi.answers import answers, json_content, success
from app.api.openapi.components import example
from app.api.options import Dedupe
from app.api.state import Gateway, State  # noqa: TC001 - FastAPI reads the annotations
from app.imaging.formats import ACCEPTED
from app.imaging.names import MAX_FILENAME_CHARACTERS, MAX_SOURCE_CHARACTERS

router = APIRouter(tags=["images"])

# Linked Data Platform 1.0, section 7.1; it is in no RFC, and widely understood.
ACCEPT_POST = ResponseHeader(
    "Accept-Post", "Content types of an upload's body.", ", ".join(body.CONTENT_TYPES)
)
ALLOWED = ResponseHeader(
    ALLOW.name, "Methods of this path.", "GET, HEAD, POST, OPTIONS", variant="Always"
)
_EXAMPLE = {
    "max_bytes": 20_000_000,
    "max_batch_images": 100,
    "max_batch_bytes": 500_000_000,
    "max_pixels": 50_000_000,
    "max_side": 16_383,
    "max_frames": 1_000,
    "max_expires_in": 3_155_760_000,
    "max_filename_characters": MAX_FILENAME_CHARACTERS,
    "max_source_characters": MAX_SOURCE_CHARACTERS,
    "formats": ["image/jpeg", "image/png"],
    "profile": ["original", "balanced"],
    "metadata": ["strip", "keep"],
    "visibility": ["public"],
    "dedupe": ["none", "exact"],
    "digests": ["sha-256", "sha-512"],
}


class UploadLimits(BaseModel):
    """The limits of an upload. Of an option the first value is the default."""

    max_bytes: int = Field(description="Largest image, in bytes.")
    max_batch_images: int = Field(description="Most images of a batch.")
    max_batch_bytes: int = Field(description="Largest batch, in bytes of its whole form.")
    max_pixels: int = Field(description="Most pixels, summed over all frames.")
    max_side: int = Field(description="Longest width or height, in pixels.")
    max_frames: int = Field(description="Most frames of an animation.")
    max_expires_in: int = Field(description="Longest `expires_in`, in seconds.")
    max_filename_characters: int = Field(
        description="Longest file name; of a longer one the end is stored."
    )
    max_source_characters: int = Field(description="Longest `source`.")
    formats: list[str] = Field(description="Content types of images that are decoded here.")
    profile: list[str] = Field(description="Values of `profile`.")
    metadata: list[str] = Field(description="Values of `metadata`.")
    visibility: list[str] = Field(description="Values of `visibility`.")
    dedupe: list[str] = Field(description="Values of `dedupe`.")
    digests: list[str] = Field(
        description="Algorithms of `Content-Digest` and `Repr-Digest` that are verified."
    )


@router.options(
    "/images",
    operation_id="describeUploads",
    summary="Get the limits of uploads",
    responses=answers(
        {
            200: success(
                "The limits.",
                ALLOWED,
                ACCEPT_POST,
                content=json_content(example("limits", "The limits of a server", _EXAMPLE)),
            )
        }
    ),
)
@open_to_all
async def describe_uploads(response: Response, gateway: Gateway) -> UploadLimits:
    """Return what an upload may be here: sizes, formats, and the values of its options."""
    response.headers[ALLOWED.name] = ALLOWED.example
    response.headers[ACCEPT_POST.name] = ACCEPT_POST.example
    return _limits(gateway)


def _limits(gateway: State) -> UploadLimits:
    imaging, rule = gateway.imaging, gateway.rule
    return UploadLimits(
        max_bytes=gateway.upload.max_bytes,
        max_batch_images=gateway.upload.batch_images,
        max_batch_bytes=gateway.upload.batch_bytes,
        max_pixels=imaging.max_pixels,
        max_side=imaging.max_side,
        max_frames=imaging.max_frames,
        max_expires_in=gateway.upload.longest_seconds,
        max_filename_characters=MAX_FILENAME_CHARACTERS,
        max_source_characters=MAX_SOURCE_CHARACTERS,
        formats=[each.content_type for each in ACCEPTED],
        profile=_default_first(imaging.profile, imaging.profiles),
        metadata=[*imaging.metadata],
        visibility=_default_first(rule.default, rule.choices),
        dedupe=[*Dedupe],
        digests=[*digests.ALGORITHMS],
    )


def _default_first(default: str, allowed: tuple[str, ...]) -> list[str]:
    return [default, *(each for each in allowed if each != default)]
