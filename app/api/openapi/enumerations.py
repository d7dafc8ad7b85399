"""Enumerations that typed languages get a type for, each under one name in the document.

Hides how the JSON of an image refers to them. Answers are not checked against them: an image whose
profile only a newer gateway knows is described all the same, and clients are told to expect that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.api.openapi.components import Reference
from app.imaging.info import Visibility
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOLERATE = "Later versions may have more: a client has to tolerate values that it does not know."


def _enumeration(name: str, values: Iterable[str], description: str) -> Reference:
    return Reference(
        "schemas",
        name,
        {
            "type": "string",
            "title": name,
            "enum": list(values),
            "description": f"{description} {_TOLERATE}",
        },
    )


PROFILE = _enumeration(
    "Profile",
    Profile,
    "How to compress the image. `original`: not at all, though metadata may be removed. `archive`:"
    " as `original`, and a JPEG needs a fifth less space in the log. `lossless`: every pixel stays"
    " identical. `balanced`: no visible difference. `small`: at most 2,048 pixels on a side, good"
    " on a phone. A server has a default, `balanced` if it sets none, and may allow some of these"
    " only.",
)
METADATA = _enumeration(
    "MetadataOption",
    MetadataOption,
    "What happens to EXIF, XMP, IPTC and comments. `strip`, the default: all is removed but a"
    " copyright notice. `strip-gps`: data that may name a place goes. `keep`: all stays, GPS"
    " included. Data after the picture is always removed.",
)
VISIBILITY = _enumeration(
    "Visibility",
    Visibility,
    "Who may read the image. `public`: everyone who has its id. `authenticated`: every client with"
    " the scope `images:read`. `owner`: the client that uploaded it, which alone lists, describes"
    " and deletes it in any case. A server has a default, and may allow some of these only.",
)


def in_form(enumeration: Reference) -> dict[str, Any]:
    """Return the schema of a form's field with these values.

    Not a reference: okhttp-gson of openapi-generator 7.25 would send JSON, in quotes, and the code
    of its `rust` would not compile.
    """
    kept = ("type", "enum", "description")
    return {key: enumeration.component[key] for key in kept}


def components(codes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the schema of each enumeration; that of error codes has those of all operations."""
    description = "The kind of a problem: the last part of its `type`."
    error_code = _enumeration("ErrorCode", sorted(codes), description)
    return {each.name: each.component for each in (PROFILE, METADATA, VISIBILITY, error_code)}


# Its values are known once every operation has listed its own.
ERROR_CODE = Reference("schemas", "ErrorCode", {})
