"""The tasks that the gateway has for a worker, and what it believes of the answers.

Hides the distrust: a worker decodes hostile bytes and may have been taken over by them. So whatever
can be computed here is compared, and the rest has to be possible. The bytes are in memory that the
worker does not share, so they cannot change after that.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import TypeAdapter

from app.errors import UnsupportedFormatError
from app.imaging.codecs import lepton
from app.imaging.develop import Developed
from app.imaging.formats import STORED, ImageFormat, sniff
from app.imaging.info import ImageInfo
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.imaging.limits import ImageLimits
    from app.imaging.profiles import Recipe

Result_co = TypeVar("Result_co", covariant=True)

# A piece crosses a socket in 0.2 ms; a call with 20 MB lasts 55 ms if the other side keeps pace.
# The event loop runs only in calls that have to wait: hence the `sleep(0)` after each.
PIECE_BYTES = 262_144

# RGBA, or 16-bit grey, not packed at all.
_MAX_BYTES_A_PIXEL = 4
# Headers of a file, and what is added to each of its rows.
_OVERHEAD_BYTES = 1_000_000

_INFO = TypeAdapter(ImageInfo)


class Kind(Enum):
    """The kinds of work; a client's own is done in this order."""

    UPLOAD = 0
    DOWNLOAD = 1
    # Takes long for its bytes, whatever it is for.
    HEAVY = 2


class Task(Protocol[Result_co]):
    """A task for a worker: a job by its name, with arguments for JSON."""

    @property
    def name(self) -> str:
        """The name of the job in the table of the workers."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the job."""

    @property
    def kind(self) -> Kind:
        """The kind of work, for the shares of clients."""

    def when_heavy(self) -> Self:
        """Return the task for an image that is heavy for its bytes; others refuse such an image."""

    def max_output_bytes(self, data: bytes) -> int:
        """Return how many bytes may come back."""

    async def result(self, properties: Any, output: bytes, data: bytes) -> Result_co:
        """Return the result, after comparing an answer with what is known.

        Args:
            properties: From the answer's JSON.
            output: The answer's bytes.
            data: The image that was sent.

        Raises:
            ValueError: No worker of ours answers that.
        """


@dataclass(frozen=True, slots=True)
class Develop:
    """Make the image to store of an upload, as `app.imaging.develop.develop` says."""

    image_format: ImageFormat
    limits: ImageLimits
    recipe: Recipe
    heavy: bool = False
    name: ClassVar[str] = "develop"
    kind: ClassVar[Kind] = Kind.UPLOAD

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the job."""
        return {
            "image_format": self.image_format.value,
            "limits": _limits(self.limits, self.heavy),
            "recipe": _recipe(self.recipe),
        }

    def when_heavy(self) -> Self:
        """Return the task that may be heavy."""
        return replace(self, heavy=True)

    def max_output_bytes(self, data: bytes) -> int:
        """Return the size of a picture that nothing packs, or of the upload, with metadata."""
        limits = self.limits
        picture = max(len(data), limits.max_pixels * _MAX_BYTES_A_PIXEL)
        return picture + limits.max_metadata_bytes + _OVERHEAD_BYTES

    async def result(self, properties: Any, output: bytes, data: bytes) -> Developed:
        """Return the developed image, whose properties fit its bytes and the upload."""
        received_digest, digest = await _digests(data, output)
        digests = {"received_digest": received_digest, "digest": digest}
        info = _INFO.validate_python((properties or {}) | digests)
        known = {
            "profile": self.recipe.profile.value,
            "filename": None,
            "owner": "",
            "visibility": None,
            "expires_at": None,
            "source": "",
            "metadata": "",
            "expires_in": None,
            "received_bytes": len(data),
            "stored_bytes": len(output),
            "content_encoding": "",
            "content_type": _content_type(output),
            "content_length": len(output),
        }
        _compare(info, known)
        if not self._is_possible(info):
            raise ValueError(f"Properties that cannot be: {info}.")
        return Developed(output, info)

    def _is_possible(self, info: ImageInfo) -> bool:
        return (
            max(info.width, info.height) <= self.limits.max_side
            and info.width * info.height <= self.limits.max_pixels
            and info.frame_count <= self.limits.max_frames
        )


@dataclass(frozen=True, slots=True)
class Pack:
    """Pack a developed image better, as `app.imaging.packing.pack` says.

    Args:
        info: The properties of the image.
        limits: The limits that it was decoded with.
        recipe: The recipe that it was developed by.
        seconds: The time of a CPU for it.
    """

    info: ImageInfo
    limits: ImageLimits
    recipe: Recipe
    seconds: float
    name: ClassVar[str] = "pack"
    kind: ClassVar[Kind] = Kind.UPLOAD

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the job."""
        return {
            "info": self.info.as_dict(),
            "limits": _limits(self.limits, self.limits.heavy),
            "recipe": _recipe(self.recipe),
            "seconds": self.seconds,
        }

    def when_heavy(self) -> Self:
        """Return the task as it is: the image has been developed."""
        return self

    def max_output_bytes(self, data: bytes) -> int:
        """Return the size of the image: nothing larger is wanted."""
        return len(data)

    async def result(self, properties: Any, output: bytes, data: bytes) -> Developed | None:
        """Return the packed image, whose properties are those of the image but for its bytes."""
        if properties is None and not output:
            return None
        is_encoded = bool((properties or {}).get("content_encoding"))
        digest = self.info.digest if is_encoded else await _sha256(output)
        info = _INFO.validate_python((properties or {}) | {"digest": digest})
        known = self.info.as_dict() | {"stored_bytes": len(output), "codec": info.codec}
        if is_encoded:
            # What is packed cannot be seen here: its digest is compared when it is unpacked.
            known["content_encoding"] = lepton.CONTENT_ENCODING
            if self.recipe.profile is not Profile.ARCHIVE or len(data) > lepton.MAX_BYTES:
                raise ValueError("An image that is to be served as it is stored was encoded.")
        else:
            known |= {
                "kept": False,
                "metadata_removed": info.metadata_removed,
                "content_type": _content_type(output),
                "content_length": len(output),
                "digest": digest,
            }
        _compare(info, known)
        return Developed(output, info)


@dataclass(frozen=True, slots=True)
class Still:
    """Make a JPEG to show among others, as `app.imaging.variants.still` says."""

    limits: ImageLimits
    max_side: int
    heavy: bool = False
    name: ClassVar[str] = "still"
    kind: ClassVar[Kind] = Kind.DOWNLOAD

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the job."""
        return {"limits": _limits(self.limits, self.heavy), "max_side": self.max_side}

    def when_heavy(self) -> Self:
        """Return the task that may be heavy."""
        return replace(self, heavy=True)

    def max_output_bytes(self, data: bytes) -> int:  # noqa: ARG002
        """Return the size of a square with a profile that nothing packs."""
        pixels = self.max_side * self.max_side
        return pixels * _MAX_BYTES_A_PIXEL + self.limits.max_metadata_bytes + _OVERHEAD_BYTES

    async def result(self, properties: Any, output: bytes, data: bytes) -> bytes:  # noqa: ARG002
        """Return a JPEG."""
        if _content_type(output) != ImageFormat.JPEG.content_type:
            raise ValueError("The still is no JPEG.")
        return output


@dataclass(frozen=True, slots=True)
class Unpack:
    """Unpack an image of the profile `archive`, as `app.imaging.codecs.lepton.unpack` says."""

    content_length: int
    digest: str
    name: ClassVar[str] = "unpack"
    kind: ClassVar[Kind] = Kind.DOWNLOAD

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the job."""
        return asdict(self)

    def when_heavy(self) -> Self:
        """Return the task as it is: it takes time for its bytes only."""
        return self

    def max_output_bytes(self, data: bytes) -> int:  # noqa: ARG002
        """Return the size that the record says."""
        return self.content_length

    async def result(self, properties: Any, output: bytes, data: bytes) -> bytes:  # noqa: ARG002
        """Return the very image that was packed."""
        if (len(output), await _sha256(output)) != (self.content_length, self.digest):
            raise ValueError("The unpacked image is not the one that was packed.")
        return output


# Few are in use, and making one takes as long as sending it.
@lru_cache(8)
def _limits(limits: ImageLimits, heavy: bool) -> Mapping[str, Any]:
    return asdict(replace(limits, heavy=heavy))


@lru_cache(64)
def _recipe(recipe: Recipe) -> Mapping[str, Any]:
    return asdict(recipe)


def pieces(data: memoryview) -> Iterator[memoryview]:
    """Yield parts that are short work for the event loop."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _compare(info: ImageInfo, known: Mapping[str, Any]) -> None:
    wrong = [name for name, value in known.items() if getattr(info, name) != value]
    if wrong:
        raise ValueError(f"Properties that cannot be: {', '.join(wrong)}.")


def _content_type(output: bytes) -> str:
    try:
        image_format = sniff(output)
    except UnsupportedFormatError as error:
        raise ValueError("The output is no image.") from error
    if image_format not in STORED:
        raise ValueError(f"The output is a {image_format.label}.")
    return image_format.content_type


async def _digests(data: bytes, output: bytes) -> tuple[str, str]:
    """Return the digests of an upload and of the image to store, often the same bytes."""
    digest = await _sha256(data)
    return digest, digest if output == data else await _sha256(output)


async def _sha256(data: bytes) -> str:
    """Return a digest in hex; a processor without instructions for it takes 4 ms a megabyte."""
    if len(data) <= PIECE_BYTES:
        return hashlib.sha256(data).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
