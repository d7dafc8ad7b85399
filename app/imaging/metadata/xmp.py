"""XMP packets: their copyright notice, and their properties that say nothing of a place.

A packet is read only where it is no larger than usual, is UTF-8, and declares no document type:
entities could unpack to far more. Properties that stay are on an allow-list, as cameras and
programs have names of their own for a place, and some hold a whole picture.

Sources: XMP part 1, ISO 16684-1 (7, RDF); XMP part 2 (dc, xmp, tiff, exif, photoshop); CIPA DC-010;
Motion Photo format 1.0, Ultra HDR image format 1.1, Dynamic Depth 1.0.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from xml.etree import ElementTree as ET

from app.imaging.metadata.exif import clean_notice

# Packets have some kilobytes; larger ones hold pictures or the history of edits.
_MAX_BYTES = 1_000_000

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

# Those of a camera or a lens tie pictures together, and to a person.
_NO_SERIAL = "(?![A-Za-z]*Serial)[A-Za-z0-9]+"

# Prefix, namespace, and the properties in it that stay.
_LOCATIONLESS: dict[str, tuple[str, str]] = {
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
    "tiff": (_TIFF, "Make|Model|Orientation|Software"),
    "exif": ("http://ns.adobe.com/exif/1.0/", "(?!GPS|UserComment|MakerNote)[A-Za-z0-9]+"),
    "exifEX": ("http://cipa.jp/exif/1.0/", _NO_SERIAL),
    "aux": ("http://ns.adobe.com/exif/1.0/aux/", _NO_SERIAL),
}

# What tells of pictures and videos after a JPEG: motion photos, depth, and gain maps for HDR.
_GOOGLE = "http://ns.google.com/photos"
_ATTACHED = {
    f"{_GOOGLE}/1.0/camera/": "(MotionPhoto|MicroVideo)[A-Za-z0-9]*",
    f"{_GOOGLE}/1.0/container/": "Directory",
    f"{_GOOGLE}/dd/1.0/device/": "Container",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "[A-Za-z0-9]+",
    "http://ns.apple.com/HDRGainMap/1.0/": "[A-Za-z0-9]+",
}
_OF_ATTACHED = re.compile(
    "|".join(rf"\{{{re.escape(uri)}\}}{names}" for uri, names in _ATTACHED.items())
)

_PROPERTY = re.compile(
    "|".join(
        rf"\{{{re.escape(uri)}\}}(?:{names})" for uri, names in _LOCATIONLESS.values() if names
    )
)
_POSITION = re.compile("gps|latitude|longitude", re.IGNORECASE)
_SYNTAX = (f"{{{_RDF}}}", "{adobe:ns:meta/}", "{http://www.w3.org/XML/1998/namespace}")
_ORIENTATION = re.compile(rb"([\w.-]+:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]")

for _prefix, (_uri, _) in _LOCATIONLESS.items():
    ET.register_namespace(_prefix, _uri)


@dataclass(frozen=True)
class Packet:
    """A packet, parsed once, at the first use."""

    data: bytes = b""

    @cached_property
    def _root(self) -> ET.Element | None:
        return parse(self.data)

    @property
    def copyright_notice(self) -> str:
        """The notice (dc:rights), in the default language; empty where there is none."""
        root = self._root if b"rights" in self.data else None
        rights = root.find(f".//{{{_DC}}}rights") if root is not None else None
        if rights is None:
            return ""
        texts = list(rights.iter(f"{{{_RDF}}}li"))
        texts.sort(key=lambda text: text.get(_LANGUAGE) != "x-default")
        return clean_notice("".join((texts[0] if texts else rights).itertext()))

    @property
    def orientation(self) -> int:
        """The orientation (tiff:Orientation), from 1 to 8; 1 where it names none that exists."""
        root = self._root if b"Orientation" in self.data else None
        if root is None:
            return 1
        name = f"{{{_TIFF}}}Orientation"
        found = (each.text if each.tag == name else each.get(name) for each in root.iter())
        text = next(filter(None, found), "").strip()
        return int(text) if re.fullmatch("[1-8]", text) else 1

    @cached_property
    def properties(self) -> set[str]:
        """The names of all properties, with their namespaces."""
        if self._root is None:
            return set()
        found = {name for element in self._root.iter() for name in (element.tag, *element.attrib)}
        return {name for name in found if not name.startswith(_SYNTAX)}

    @cached_property
    def without_location(self) -> Packet:
        """A packet of only those properties that cannot name a place; empty without any."""
        root = deepcopy(self._root)
        rdf = root if root is None or root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
        if root is None or rdf is None:
            return Packet()
        for description in list(rdf):
            for name in [each for each in description.attrib if not _stays(each)]:
                del description.attrib[name]
            for child in [each for each in description if not _has_no_location(each)]:
                description.remove(child)
            if not len(description) and not description.attrib.keys() - {f"{{{_RDF}}}about"}:
                rdf.remove(description)
        return Packet(ET.tostring(root)) if len(rdf) else Packet()

    def of_one_picture(self) -> Packet:
        """Return the packet without what tells of others after it; itself where nothing does."""
        if not any(_OF_ATTACHED.fullmatch(name) for name in self.properties):
            return self
        root = deepcopy(self._root)
        assert root is not None  # noqa: S101 - it has properties
        for element in root.iter():
            for name in [each for each in element.attrib if _OF_ATTACHED.fullmatch(each)]:
                del element.attrib[name]
            for child in [each for each in element if _OF_ATTACHED.fullmatch(each.tag)]:
                element.remove(child)
        return Packet(ET.tostring(root))

    def upright(self) -> Packet:
        """Return the packet for a picture that is upright now; itself if nothing changes."""
        turned = _ORIENTATION.sub(rb"\g<1>1", self.data)
        return self if turned == self.data else Packet(turned)


def names_a_place(properties: set[str]) -> bool:
    """Tell whether one of these properties is a position."""
    return any(_POSITION.search(name.rpartition("}")[2]) for name in properties)


def parse(packet: bytes) -> ET.Element | None:
    """Read a packet; None where it is too large, declares a document type, or is no XML."""
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


def _has_no_location(element: ET.Element) -> bool:
    """Tell whether it is a property that stays, of text and lists of text alone."""
    return _stays(element.tag) and all(
        each.tag.startswith(f"{{{_RDF}}}") and set(each.attrib) <= {_LANGUAGE}
        for each in element.iter()
        if each is not element
    )
