"""What FastAPI cannot see of requests: the body of an upload, and headers that handlers read.

Hides what generators of client code need: a binary schema that none of them takes for a string, and
a form with a name of its own.
"""

from __future__ import annotations

from typing import Any

from app.api.openapi import examples, headers
from app.api.openapi.answers import BINARY
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile

UPLOAD_FORM = {
    "type": "object",
    "description": "An image, and how to treat it.",
    "required": ["file"],
    "properties": {
        "file": BINARY
        | {"description": "The image: JPEG, PNG, WebP, GIF, AVIF, HEIC, TIFF or BMP."},
        "profile": {
            "type": "string",
            "enum": [each.value for each in Profile],
            "description": "How to compress it. `original`: not at all, though metadata may go."
            " `archive`: the same, and a JPEG takes a fifth less in the log. `lossless`: every"
            " pixel identical. `balanced`: not visibly different. `small`: at most 2,048 pixels on"
            " a side, good on a phone. A server has a default, `balanced` if it sets none, and may"
            " take some of these only.",
            "examples": [examples.PROFILE],
        },
        "metadata": {
            "type": "string",
            "enum": [each.value for each in MetadataOption],
            "description": "What becomes of EXIF, XMP, IPTC and comments. `strip`, the default:"
            " all goes but a copyright notice. `strip-gps`: what may name a place goes. `keep`:"
            " it stays, GPS included. What follows the end of the picture goes in any case.",
            "examples": ["strip"],
        },
    },
}

_BYTES = BINARY | {"description": "The bytes of the image, and nothing else."}

UPLOAD: dict[str, Any] = {
    "requestBody": {
        "description": "The image, as a form or as it is.",
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"$ref": "#/components/schemas/UploadForm"},
                "examples": {"form": {"$ref": "#/components/examples/form"}},
            },
            "application/octet-stream": {"schema": _BYTES},
            "image/*": {"schema": _BYTES},
        },
    }
}
DOWNLOAD = {
    "parameters": headers.read(
        headers.RANGE, headers.IF_RANGE, headers.IF_MATCH, headers.IF_NONE_MATCH
    )
}
STREAM = {"parameters": headers.read(headers.LAST_EVENT_ID)}
HEAD = {"parameters": headers.read(headers.IF_MATCH, headers.IF_NONE_MATCH)}


def components() -> dict[str, Any]:
    """Return the examples that requests refer to."""
    return {
        "form": {
            "summary": "The bytes of a file, with the defaults spelt out",
            "value": {"file": "(bytes)", "profile": examples.PROFILE, "metadata": "strip"},
        }
    }
