"""The jobs that a worker does, by their names: no other code can be asked of it.

Hides how the arguments come out of JSON, and the properties of an output go into it. Runs in the
workers only; `app/codec/tasks.py` is the gateway's side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.imaging import packing, variants
from app.imaging.codecs import lepton, score
from app.imaging.develop import develop
from app.imaging.formats import ImageFormat
from app.imaging.info import ImageInfo
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _develop(
    data: bytes, *, image_format: str, limits: dict[str, Any], recipe: dict[str, Any]
) -> tuple[bytes, Mapping[str, Any]]:
    developed = develop(data, ImageFormat(image_format), ImageLimits(**limits), _recipe(recipe))
    return developed.data, developed.info.as_dict()


def _pack(
    data: bytes,
    *,
    info: dict[str, Any],
    limits: dict[str, Any],
    recipe: dict[str, Any],
    seconds: float,
) -> tuple[bytes, Mapping[str, Any] | None]:
    known = ImageInfo(**info | {"metadata_removed": tuple(info["metadata_removed"])})
    packed = packing.pack(data, known, ImageLimits(**limits), _recipe(recipe), seconds)
    return (packed.data, packed.info.as_dict()) if packed else (b"", None)


def _recipe(values: dict[str, Any]) -> Recipe:
    profile, metadata = Profile(values["profile"]), MetadataOption(values["metadata"])
    return Recipe(**values | {"profile": profile, "metadata": metadata})


def _still(data: bytes, *, limits: dict[str, Any], max_side: int) -> tuple[bytes, None]:
    return variants.still(data, ImageLimits(**limits), max_side), None


def _unpack(data: bytes, *, content_length: int, digest: str) -> tuple[bytes, None]:
    return lepton.unpack(data, content_length, digest), None


JOBS: Mapping[str, Callable[..., tuple[bytes, Mapping[str, Any] | None]]] = {
    "develop": _develop,
    "pack": _pack,
    "still": _still,
    "unpack": _unpack,
}


def warm_up(*, measure_quality: bool) -> None:
    """Load what the jobs load at their first use: a confined worker can open no file."""
    if measure_quality:
        score.warm_up()
