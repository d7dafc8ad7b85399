"""XMP packets: the copyright notice in them, and what of them says nothing of a place.

A packet is read only where it is no larger than usual, is UTF-8, and declares no document type:
entities could unpack to far more. What stays is chosen from an allow-list of properties, as cameras
and programs have names of their own for a place, and some hold a whole picture.

Sources: XMP part 1, ISO 16684-1 (7, RDF); XMP part 2 (dc, xmp, tiff, exif, photoshop); CIPA DC-010.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from app.imaging.metadata.exif import clean_notice

_MAX_BYTES = 1_000_000
"""Packets have some kilobytes; larger ones hold pictures or the history of edits."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

_PLACELESS: dict[str, tuple[str, str]] = {
    "x": ("adobe:ns:meta/", ""),
    "rdf": (_RDF, ""),
    "dc": (_DC, "creator|date|description|format|rights|title"),
    "xmp": (
        "http://ns.adobe.com/xap/1.0/",
        "CreateDate|CreatorTool|Label|MetadataDate|ModifyDate|Rating",
    ),
    "xmpRights": ("http://ns.adobe.com/xap/1.0/rights/", "Marked|Owner|UsageTerms|WebStatement"),
    "MicrosoftPhoto": ("http://ns.microsoft.com/photo/1.0", "Rating|RatingPercent"),
    "photoshop": (
        "http://ns.adobe.com/photoshop/1.0/",
        "AuthorsPosition|CaptionWriter|ColorMode|Credit|DateCreated|Headline|ICCProfile|Source",
    ),
    "tiff": ("http://ns.adobe.com/tiff/1.0/", "Make|Model|Orientation|Software"),
    "exif": ("http://ns.adobe.com/exif/1.0/", "(?!GPS|UserComment|MakerNote)[A-Za-z0-9]+"),
    "exifEX": ("http://cipa.jp/exif/1.0/", "[A-Za-z0-9]+"),
    "aux": ("http://ns.adobe.com/exif/1.0/aux/", "[A-Za-z0-9]+"),
}
"""Prefix, namespace, and the properties in it that stay."""

_PROPERTY = re.compile(
    "|".join(rf"\{{{re.escape(uri)}\}}(?:{names})" for uri, names in _PLACELESS.values() if names)
)
_POSITION = re.compile("gps|latitude|longitude", re.IGNORECASE)
_SYNTAX = (f"{{{_RDF}}}", "{adobe:ns:meta/}", "{http://www.w3.org/XML/1998/namespace}")
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")

for _prefix, (_uri, _) in _PLACELESS.items():
    ET.register_namespace(_prefix, _uri)


def copyright_notice(packet: bytes) -> str:
    """Return the notice (dc:rights), in the default language; empty where there is none."""
    root = _parse(packet) if b"rights" in packet else None
    rights = root.find(f".//{{{_DC}}}rights") if root is not None else None
    if rights is None:
        return ""
    texts = list(rights.iter(f"{{{_RDF}}}li"))
    texts.sort(key=lambda text: text.get(_LANGUAGE) != "x-default")
    return clean_notice("".join((texts[0] if texts else rights).itertext()))


def without_place(packet: bytes) -> bytes:
    """Return a packet with those properties alone that cannot name a place, or nothing."""
    root = _parse(packet)
    rdf = root if root is None or root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    if rdf is None:
        return b""
    for description in list(rdf):
        for name in [each for each in description.attrib if not _stays(each)]:
            del description.attrib[name]
        for child in [each for each in description if not _is_placeless(each)]:
            description.remove(child)
        if not len(description) and not description.attrib.keys() - {f"{{{_RDF}}}about"}:
            rdf.remove(description)
    return ET.tostring(root) if len(rdf) else b""  # type: ignore[arg-type]  # where RDF is, it is


def properties(packet: bytes) -> set[str]:
    """Return the names of all properties, with their namespaces."""
    root = _parse(packet)
    if root is None:
        return set()
    found = {name for element in root.iter() for name in (element.tag, *element.attrib)}
    return {name for name in found if not name.startswith(_SYNTAX)}


def name_a_place(names: set[str]) -> bool:
    """Tell whether one of these properties is a position."""
    return any(_POSITION.search(name.rpartition("}")[2]) for name in names)


def upright(packet: bytes) -> bytes:
    """Return the packet of a picture that was turned."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)


def _parse(packet: bytes) -> ET.Element | None:
    packet = packet.strip(b" \r\n\t\0")
    declares = re.search(rb"<!(?!--)|\0", packet) is not None
    if declares or not packet or len(packet) > _MAX_BYTES:
        return None
    try:
        return ET.fromstring(packet)  # noqa: S314 - without a document type
    except (ET.ParseError, ValueError, LookupError):
        return None


def _stays(name: str) -> bool:
    return name == f"{{{_RDF}}}about" or _PROPERTY.fullmatch(name) is not None


def _is_placeless(element: ET.Element) -> bool:
    """Tell whether it is a property that stays, of text and lists of text alone."""
    return _stays(element.tag) and all(
        each.tag.startswith(f"{{{_RDF}}}") and set(each.attrib) <= {_LANGUAGE}
        for each in element.iter()
        if each is not element
    )
