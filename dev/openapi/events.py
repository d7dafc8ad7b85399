"""Write openapi/events/: a JSON Schema for each event in the topic `image-events`.

Hides how the constraints of `ImageInfo` become keywords. A schema is that of a record's whole
value, the CloudEvent with its `data`, in a file without references: a registry takes it as it is,
and `#/properties/data` is the schema of the data alone. It requires the members without which no
gateway believes an event; others may be missing in events of earlier releases, and unknown members
are allowed, as a later release may add some.

Only keywords are used that mean the same in JSON Schema 2020-12 and in draft 7, which AsyncAPI 3
builds on. Patterns have no look-around, and characters in place of Unicode escapes, so that RE2 and
ECMA-262 read them alike.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Gt, Le, MaxLen, Predicate

from app.api import schemas
from app.events.move import MAX_FORMER_IDS
from app.imaging import info, names
from app.imaging.formats import ImageFormat
from app.log import MAX_OFFSETS, MAX_PARTITIONS

Schema = dict[str, Any]

_SHA_256 = "[0-9a-f]{64}"
_ID = "[a-z2-7]{32}"
_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"
_LABEL = {"pattern": "^[ -~]+$", "maxLength": 100}
# As in `names.HARMFUL`.
_HARMFUL = "\\x00-\\x1f\\x7f-\\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069"
_PREDICATES: dict[Any, Schema] = {
    info.is_content_type: {"enum": [each.content_type for each in ImageFormat]},
    info.is_encoding: {"pattern": "^[ -~]*$", "maxLength": 100},
    # Written only where there is one, as `_UNSAID` says.
    info.is_owner_or_empty: {
        "pattern": f"^[^{_HARMFUL}]+$",
        "maxLength": names.MAX_OWNER_CHARACTERS,
    },
    info.is_source_or_empty: {
        "pattern": f"^[^{_HARMFUL}]+$",
        "maxLength": names.MAX_SOURCE_CHARACTERS,
    },
    info.is_option: _LABEL,
    info.is_sha_256: {"pattern": "^[0-9a-f]{64}$"},
    # JSON has no other numbers.
    math.isfinite: {},
    names.is_filename: {
        "pattern": f"^[^{_HARMFUL}/\\\\]+$",
        "maxLength": names.MAX_FILENAME_CHARACTERS,
    },
    names.is_label: _LABEL,
}
_SUBJECTS = {
    "image.deleted": "Id of the image, perhaps one that it had in another log",
    "image.signing-began": "That of no image",
}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
# Members that are written only where they say something, and then are neither empty nor null.
_UNSAID = {"owner", "visibility", "expires_at", "source", "metadata", "expires_in"}
_DESCRIPTIONS = {
    name: field.description
    for model in (schemas.Receipt, schemas.Image)
    for name, field in model.model_fields.items()
} | {
    "content_encoding": "Packing of the stored bytes, such as `lepton`; empty if there is none.",
    "expires_at": "When the image is gone, in seconds since 1970; missing where it never is.",
    "expires_in": "How long the upload wanted it kept, in seconds; missing where for ever.",
}


def documents() -> dict[str, Schema]:
    """Return the schema of each event, by its type."""
    chunks = _text(
        "Chunk size, then `partition:offset` of the chunks 1, 2 and so on; missing where the image"
        " is in one record.",
        "[1-9][0-9]{0,8}(,(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,14}))+",
    )
    former = _text(
        "Ids that the image had in other logs, the newest last; each still means this image.",
        f"{_ID}(,{_ID}){{0,{MAX_FORMER_IDS - 1}}}",
    )
    token = _text(
        "SHA-256 that stands for the client's name and the `Idempotency-Key` of its upload; missing"
        " where it sent none. Of several images with one token, only the first exists, unless the"
        " timestamps of their records are 24 hours or more apart.",
        _SHA_256,
    )
    stored = {
        "imagegatechunks": chunks,
        "imagegateclaim": _claim("The image exists only if this claim counts."),
        "imagegateidempotency": token,
        "imagegatefingerprint": _text(
            "SHA-256 that stands for the file, its name and its options, keyed with the image's key"
            " if it is encrypted; there with `imagegateidempotency`.",
            _SHA_256,
        ),
        "data": _image(),
    }
    moved = {
        "imagegatechunks": chunks,
        "imagegateclaim": _claim("It is a use of the link, and the image exists in any case."),
        "imagegateformerids": former,
        "imagegatecreatedat": _text("Time of the first storing, in UTC.", _TIME),
        "data": _image(),
    }
    deleted = {
        "imagegateowner": _constrained(str, Predicate(info.is_owner_or_empty))
        | _described("owner"),
        "imagegatevisibility": _schema_of(info.Visibility) | _described("visibility"),
        "imagegatesource": _constrained(str, Predicate(info.is_source_or_empty))
        | _described("source"),
        "imagegateclaim": _claim("It still is a use of the link."),
        "imagegateformerids": former,
        "imagegateidempotency": _text(
            "As in the event that announced the image, which a log may have erased; missing where"
            " there was none, or 24 hours later.",
            _SHA_256,
        ),
        "imagegatecreatedat": _text(
            "Time at which the image was stored, by the log's clock, in UTC; there with"
            " `imagegateidempotency`.",
            _TIME,
        ),
    }
    began = {"data": _ends()}
    return {
        "image.stored": _event(
            "image.stored", "An image was stored.", [1, 2, 4, 5, 6, 7], stored, ["data"]
        ),
        "image.moved": _event(
            "image.moved",
            "An image was brought from another log, where it had another id.",
            [3, 4, 5, 6],
            moved,
            ["imagegateformerids", "imagegatecreatedat", "data"],
        ),
        "image.deleted": _event(
            "image.deleted", "An image was deleted for ever.", [1, 3], deleted, []
        ),
        "image.rewrapped": _event(
            "image.rewrapped",
            "The key of an image is in another record, wrapped by another sealing key.",
            [6],
            {"data": _key_addresses()},
            ["data"],
        ),
        "image.signing-began": _event(
            "image.signing-began",
            "Records without a signature are strangers' from here on.",
            [1],
            began,
            ["data"],
        ),
    }


def text_of(document: Schema) -> str:
    """Return the text of a file."""
    return json.dumps(document, indent=2) + "\n"


def _event(
    kind: str, description: str, versions: list[int], more: Schema, required: list[str]
) -> Schema:
    envelope = {
        "specversion": _constant("1.0"),
        "id": {"type": "string", "description": "Id of the event."} | _LABEL,
        "source": _constant("urn:imagegate"),
        "type": _constant(kind),
        "subject": _text(_SUBJECTS.get(kind, "Id of the image") + "; also the record's key.", _ID),
        "time": _text(
            "Time by the gateway's clock, in UTC; missing in events of earlier releases.", _TIME
        ),
        "imagegateversion": {
            "type": "integer",
            "enum": versions,
            "description": "Version of the format. A reader that knows none so high must stop.",
        },
    }
    if "data" in more:
        envelope["datacontenttype"] = _constant("application/json")
    if kind == "image.signing-began":
        envelope["subject"] |= {"const": "a" * 32}
    optional = {"time", "datacontenttype"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:imagegate:{kind}",
        "title": kind,
        "description": description,
        "type": "object",
        "properties": envelope | more,
        "required": [*(name for name in envelope if name not in optional), *required],
    }


def _claim(meaning: str) -> Schema:
    return _text(
        "`LINK,USES,EXPIRES` of the upload link that the image came by; missing where it came by"
        f" none. {meaning}",
        "[A-Za-z0-9_-]{16},[1-9][0-9]{0,5},[1-9][0-9]{0,11}",
    )


def _image() -> Schema:
    hints = get_type_hints(info.ImageInfo, include_extras=True)
    members = {name: _member(name, hint) | _described(name) for name, hint in hints.items()}
    required = [each.name for each in fields(info.ImageInfo) if each.default is MISSING]
    return {
        "description": "Properties of the image.",
        "type": "object",
        "properties": members,
        "required": required,
    }


def _key_addresses() -> Schema:
    # The letters of partition 0: 16 bits, in letters of five.
    address = "aaa[a-p][a-z2-7]{28}"
    return {
        "type": "object",
        "properties": {
            "from": _text("Address in `image-keys` of the record that had the key.", address),
            "to": _text("Address of the record that has it now.", address),
        },
        "required": ["from", "to"],
    }


def _ends() -> Schema:
    offset = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSETS - 1}
    return {
        "type": "object",
        "properties": {
            "images": {
                "description": "By partition of `images`, the offset at which signing began.",
                "type": "array",
                "items": offset,
                "maxItems": MAX_PARTITIONS,
            }
        },
        "required": ["images"],
    }


def _member(name: str, hint: Any) -> Schema:
    choices = [each for each in get_args(hint) if each is not NoneType]
    if NoneType not in get_args(hint):
        return _schema_of(hint)
    [choice] = choices
    schema = _schema_of(choice)
    return schema if name in _UNSAID else schema | {"type": [schema["type"], "null"]}


def _schema_of(hint: Any) -> Schema:
    if get_origin(hint) is Annotated:
        return _constrained(*get_args(hint))
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema_of(get_args(hint)[0])}
    if issubclass(hint, StrEnum):
        return {"type": "string", "enum": [each.value for each in hint]}
    return {"type": _TYPES[hint]}


def _constrained(hint: Any, *constraints: Any) -> Schema:
    schema = _schema_of(hint)
    for constraint in constraints:
        match constraint:
            case Gt(int(bound)):
                schema["minimum"] = bound + 1
            case Le(bound):
                schema["maximum"] = bound
            case MaxLen(bound):
                schema["maxItems"] = bound
            case Predicate(is_met):
                schema |= _PREDICATES[is_met]
            case _:
                raise TypeError(f"a constraint that no schema says: {constraint}")
    return schema


def _described(name: str) -> Schema:
    return {"description": _DESCRIPTIONS[name]}


def _constant(text: str) -> Schema:
    return {"type": "string", "const": text}


def _text(description: str, pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", "description": description}


if __name__ == "__main__":
    for kind, document in documents().items():
        (Path(sys.argv[1]) / f"{kind}.json").write_text(text_of(document), "utf-8")
