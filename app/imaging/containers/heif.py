"""HEIF and AVIF: which items and boxes a picture needs.

Items are found by their place in the file, so nothing can be taken out without moving the rest.
What a picture needs is therefore copied to where it lay, and the places of everything else are
zeros: Exif, XMP and other items that are no picture, thumbnails, user data of tracks, every box
that neither holds the picture nor describes it (motion photos, previews), and all bytes that
nothing points to. What lies behind the last box is cut off. What is to stay of EXIF and XMP is
written where they lay. Orientation and colour are properties of the picture and stay, as do its
auxiliary pictures: alpha, depth, HDR gain map.

Sources: ISO/IEC 14496-12 (`colr`, `infe` flags), ISO/IEC 23008-12 (item types, `thmb`, `Exif` and
`mime` items), ISO/IEC 23091-2 (colour primaries and transfer), AV1 Image File Format 1.1.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.containers.isobmff import Box, Item, boxes, children, inside, items, references
from app.imaging.metadata.metadata import Metadata, Stripped

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = frozenset({b"ftyp", b"meta", b"mdat", b"moov"})
_DESCRIPTION = frozenset({b"hdlr", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"dinf", b"grpl"})
_PICTURE_ITEMS = frozenset(
    {b"hvc1", b"hev1", b"lhv1", b"av01", b"avc1", b"jpeg", b"j2k1", b"unci"}
    | {b"grid", b"iden", b"iovl", b"tmap"}
)
_PRIVATE_TRACK_BOXES = frozenset({b"udta", b"uuid", b"free", b"skip", b"udes"})
_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0" + bytes(4)
_EMPTY_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
"""Without an entry: libavif refuses a file whose Exif item is no TIFF, and readers complain of
XMP that is none."""

_EMPTY = frozenset({b"", _EMPTY_TIFF.strip(b"\0"), _EMPTY_XMP})

_OFFSET_BYTES = 4
"""Before the TIFF in an Exif item: how far it is off (ISO/IEC 23008-12, A.2.1)."""

_XMP_MARK = b"<x:xmpmeta"
_HIDDEN_FLAG = 1

_USUAL_PRIMARIES = frozenset({1, 2, 5, 6})
"""BT.709, which sRGB has too; not specified; those of standard definition, which hardly differ."""

_USUAL_TRANSFERS = frozenset({1, 2, 4, 5, 6, 13, 14, 15})
"""Those of SDR video and of sRGB."""

_HDR_TRANSFERS = frozenset({16, 18})


def strip(data: bytes) -> Stripped:
    """Copy a HEIF or AVIF file without its metadata; its size is the decoder's to say.

    Raises:
        InvalidImageError: the boxes do not fit the file, or describe no picture.
    """
    top = list(boxes(data, 0, len(data), needed=_NEEDED))
    if not any(box.kind in {b"meta", b"moov"} for box in top):
        raise InvalidImageError("The image has no picture in it.")
    kept, metadata = bytearray(top[-1].end), Metadata()
    has_tracks = any(box.kind == b"moov" for box in top)
    for box in top:
        # Samples of tracks lie in `mdat`, wherever their tables say.
        whole = box.kind in {b"ftyp", b"moov"} or (box.kind == b"mdat" and has_tracks)
        _copy(data, kept, box.start, box.end if whole else box.body)
        if box.kind not in _NEEDED:
            _note(data[box.body : box.end], "other", metadata)
    for box in _private_track_boxes(data, top):
        _note(data[box.body : box.end], "other", metadata)
        kept[box.body : box.end] = bytes(box.end - box.body)
    for meta in _metas(data, top):
        _copy_description(data, kept, meta, metadata)
        _copy_items(data, kept, meta, metadata)
    if len(kept) < len(data):
        metadata.others.add("trailer")
    return Stripped(bytes(kept), None, 1, len(kept), None, metadata)


def attach(data: bytes, metadata: Metadata) -> bytes:
    """Write EXIF and XMP where there was some before, as far as there is room for it."""
    if not metadata.exif and not metadata.xmp:
        return data
    written, exif, xmp = bytearray(data), metadata.exif, metadata.xmp
    for meta in _metas(data, list(boxes(data, 0, len(data)))):
        for item in items(data, meta):
            # Of several items of a kind it was the first that was read.
            if item.kind == b"Exif":
                exif = exif and _write(written, item, bytes(_OFFSET_BYTES) + exif)
            elif item.kind == b"mime":
                xmp = xmp and _write(written, item, xmp)
    return bytes(written)


def has_unusual_colours(data: bytes, *, has_profile: bool) -> bool:
    """Tell whether a picture says by code points that its colours are wide or of high range.

    A colour profile goes along to another format; that a picture is HDR does not.
    """
    for meta in _metas(data, list(boxes(data, 0, len(data)))):
        iprp = children(data, meta).get(b"iprp")
        for colr in _descend(data, iprp, (b"ipco", b"colr")) if iprp else ():
            kind, primaries, transfer = struct.unpack(
                ">4sHH", data[colr.body : colr.body + 8].ljust(8, b"\0")
            )
            if kind == b"nclx" and (
                transfer in _HDR_TRANSFERS
                if has_profile
                else primaries not in _USUAL_PRIMARIES or transfer not in _USUAL_TRANSFERS
            ):
                return True
    return False


def _copy(data: bytes, kept: bytearray, start: int, end: int) -> None:
    kept[start:end] = data[start:end]


def _note(content: bytes, name: str, metadata: Metadata) -> None:
    metadata.size_bytes += len(content)
    if content.strip(b"\0"):
        metadata.others.add(name)


def _metas(data: bytes, top: list[Box]) -> Iterator[Box]:
    for box in top:
        inner = inside(data, box) if box.kind == b"moov" else ()
        yield from (each for each in (box, *inner) if each.kind == b"meta")


def _private_track_boxes(data: bytes, top: list[Box]) -> Iterator[Box]:
    for box in top:
        if box.kind == b"moov":
            yield from (each for each in inside(data, box) if each.kind in _PRIVATE_TRACK_BOXES)


def _copy_description(data: bytes, kept: bytearray, meta: Box, metadata: Metadata) -> None:
    start = meta.body + 4
    kept[meta.start : meta.end] = data[meta.start : start].ljust(meta.end - meta.start, b"\0")
    for box in boxes(data, start, meta.end):
        whole = box.kind in _DESCRIPTION
        _copy(data, kept, box.start, box.end if whole else box.body)
        if not whole and box.kind != b"idat":
            _note(data[box.body : box.end], "other", metadata)


def _copy_items(data: bytes, kept: bytearray, meta: Box, metadata: Metadata) -> None:
    """Copy what belongs to the picture, note and leave out the rest, and hide its thumbnails."""
    thumbnails = {number: box for box, number in references(data, meta) if box.kind == b"thmb"}
    needed: list[Item] = []
    for item in items(data, meta):
        if item.kind in _PICTURE_ITEMS and item.number not in thumbnails:
            needed.append(item)
            continue
        content = b"".join(data[start:end] for start, end in item.extents)
        for start, end in item.extents:
            kept[start:end] = bytes(end - start)
        if item.number in thumbnails:
            _note(content, "thumbnail", metadata)
            # No reader looks for a picture there any more (ISO/IEC 23008-12, 6.4.2).
            kept[item.entry.body + 3] |= _HIDDEN_FLAG
            reference = thumbnails[item.number]
            kept[reference.start + 4 : reference.start + 8] = b"skip"
        else:
            _take_note(content, item.kind, metadata)
        if item.kind == b"Exif":
            _write(kept, item, bytes(_OFFSET_BYTES) + _EMPTY_TIFF)
        elif item.kind == b"mime" and _XMP_MARK in content:
            _write(kept, item, _EMPTY_XMP)
    for start, end in (extent for item in needed for extent in item.extents):
        _copy(data, kept, start, end)


def _take_note(content: bytes, kind: bytes, metadata: Metadata) -> None:
    text = content.strip(b"\0")
    if text in _EMPTY:
        return
    metadata.size_bytes += len(content)
    if kind == b"Exif" and not metadata.exif:
        metadata.exif = content[_OFFSET_BYTES + int.from_bytes(content[:_OFFSET_BYTES]) :]
    elif kind == b"mime" and _XMP_MARK in text and not metadata.xmp:
        metadata.xmp = text
    elif text:
        metadata.others.add("other")


def _write(kept: bytearray, item: Item, content: bytes) -> bytes:
    """Write the content of an item where it fits into one extent; return nothing then.

    What is not empty is a part of the picture too, whoever made a file like that.
    """
    for start, end in item.extents:
        is_empty = bytes(kept[start:end]).strip(b"\0") in _EMPTY
        if is_empty and len(content) <= end - start:
            kept[start:end] = content.ljust(end - start, b"\0")
            return b""
    return content


def _descend(data: bytes, box: Box, path: tuple[bytes, ...]) -> Iterator[Box]:
    for inner in boxes(data, box.body, box.end):
        if inner.kind == path[0] and len(path) == 1:
            yield inner
        elif inner.kind == path[0]:
            yield from _descend(data, inner, path[1:])
