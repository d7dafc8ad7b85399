"""HEIF and AVIF: the items and boxes that a picture needs.

Items are found by their place in the file, so nothing can be cut out without moving the rest. The
parts that a picture needs are therefore copied to their old places, and everything else is
zeros: Exif, XMP and other items that are no picture, thumbnails, user data of tracks, every box
that neither holds the picture nor describes it (motion photos, previews), and all bytes that
nothing points to. The bytes after the last box are cut off. EXIF and XMP that stay are written
to their old places. Orientation and colour are properties of the picture and stay, as do its
auxiliary pictures: alpha, depth, HDR gain map.

Sources: ISO/IEC 14496-12 (`infe` flags), ISO/IEC 23008-12 (item types, `thmb`, `Exif` and `mime`
items), AV1 Image File Format 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.containers.heif_properties import (
    is_turned,
    metas,
    profiles,
    shape_of_pixels,
    sizes,
)
from app.imaging.containers.isobmff import (
    Box,
    Item,
    boxes,
    inside,
    items,
    primary_item,
    references,
    sample_properties,
)
from app.imaging.metadata import exif
from app.imaging.metadata.icc import anonymous
from app.imaging.metadata.metadata import Blocks, Metadata, Stripped
from app.imaging.metadata.xmp import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = frozenset({b"ftyp", b"meta", b"mdat", b"moov"})
_DESCRIPTION = frozenset({b"hdlr", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"dinf", b"grpl"})
_PICTURE_ITEMS = frozenset(
    {b"hvc1", b"hev1", b"lhv1", b"av01", b"avc1", b"jpeg", b"j2k1", b"unci"}
    | {b"grid", b"iden", b"iovl", b"tmap"}
)
_PRIVATE_TRACK_BOXES = frozenset({b"udta", b"uuid", b"free", b"skip", b"udes"})

# Blocks without an entry: libavif refuses a file whose Exif item is no TIFF, and readers complain
# of XMP that is none.
_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0" + bytes(4)
_EMPTY_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
_EMPTY = frozenset({b"", _EMPTY_TIFF.strip(b"\0"), _EMPTY_XMP})

# Before the TIFF in an Exif item: its distance (ISO/IEC 23008-12, A.2.1).
_OFFSET_BYTES = 4

_DATED = frozenset({b"mvhd", b"tkhd", b"mdhd"})
_FULL_BOX_BYTES = 4

_XMP_MARK = b"<x:xmpmeta"
_HIDDEN_FLAG = 1


def strip(data: bytes) -> Stripped:
    """Copy a HEIF or AVIF file without its metadata; the decoder says its size.

    Raises:
        InvalidImageError: The boxes do not fit the file, or describe no picture.
    """
    top = list(boxes(data, 0, len(data), needed=_NEEDED))
    if any(box.kind == b"mini" for box in top):
        raise InvalidImageError("The image is of the low-overhead kind (mini), which is not known.")
    if not any(box.kind in {b"meta", b"moov"} for box in top):
        raise InvalidImageError("The image has no picture in it.")
    copied, metadata = bytearray(top[-1].end), Metadata()
    has_tracks = any(box.kind == b"moov" for box in top)
    for box in top:
        # Samples of tracks are in `mdat`, wherever their tables say.
        whole = box.kind in {b"ftyp", b"moov"} or (box.kind == b"mdat" and has_tracks)
        _copy(data, copied, box.start, box.end if whole else box.body)
        if box.kind not in _NEEDED:
            _collect_other(data[box.body : box.end], "other", metadata)
    for box in _private_track_boxes(data, top):
        _collect_other(data[box.body : box.end], "other", metadata)
        copied[box.body : box.end] = bytes(box.end - box.body)
    for times in _times(data, top):
        metadata.others |= {"date"} if any(data[times]) else set()
        copied[times] = bytes(times.stop - times.start)
    for meta in metas(data, top):
        _copy_description(data, copied, meta, metadata)
        _copy_items(data, copied, meta, metadata)
    for profile in profiles(data, top):
        copied[profile] = anonymous(data[profile])
    if len(copied) < len(data):
        metadata.others.add("trailer")
    stripped = bytes(copied)
    return Stripped(
        stripped,
        size=None,
        orientation=1,
        end=len(stripped),
        frame_count=None,
        metadata=metadata,
        resolution=shape_of_pixels(stripped),
        turns_itself=is_turned(stripped),
        announced=max(sizes(data, top), default=None, key=max),
    )


def attach(data: bytes, blocks: Blocks) -> bytes:
    """Write EXIF and XMP to the places of the upload's, as far as there is room."""
    if not blocks.exif and not blocks.xmp:
        return data
    written, exif_left, xmp_left = bytearray(data), blocks.exif, blocks.xmp
    for meta in metas(data, list(boxes(data, 0, len(data)))):
        for item in items(data, meta, sharing=_PICTURE_ITEMS):
            # Of several items of a kind, the first was read.
            if item.kind == b"Exif":
                exif_left = exif_left and _write(written, item, bytes(_OFFSET_BYTES) + exif_left)
            elif item.kind == b"mime":
                xmp_left = xmp_left and _write(written, item, xmp_left)
    return bytes(written)


def _times(data: bytes, top: list[Box]) -> Iterator[slice]:
    """Yield where tracks say when they were made and changed (ISO/IEC 14496-12, 8.2.2)."""
    for box in top:
        for each in inside(data, box) if box.kind == b"moov" else ():
            if each.kind in _DATED:
                start = each.body + _FULL_BOX_BYTES
                end = start + 2 * (8 if data[each.body] else 4)
                yield slice(start, min(end, each.end))


def _copy(data: bytes, copied: bytearray, start: int, end: int) -> None:
    copied[start:end] = data[start:end]


def _collect_other(content: bytes, name: str, metadata: Metadata) -> None:
    metadata.size_bytes += len(content)
    if content.strip(b"\0"):
        metadata.others.add(name)


def _private_track_boxes(data: bytes, top: list[Box]) -> Iterator[Box]:
    for box in top:
        if box.kind == b"moov":
            every = (*inside(data, box), *sample_properties(data, box))
            yield from (each for each in every if each.kind in _PRIVATE_TRACK_BOXES)


def _copy_description(data: bytes, copied: bytearray, meta: Box, metadata: Metadata) -> None:
    start = meta.body + 4
    copied[meta.start : meta.end] = data[meta.start : start].ljust(meta.end - meta.start, b"\0")
    for box in boxes(data, start, meta.end):
        whole = box.kind in _DESCRIPTION
        _copy(data, copied, box.start, box.end if whole else box.body)
        if not whole and box.kind != b"idat":
            _collect_other(data[box.body : box.end], "other", metadata)


def _copy_items(data: bytes, copied: bytearray, meta: Box, metadata: Metadata) -> None:
    """Copy the items of the picture, collect the others, and hide its thumbnails."""
    thumbnails = _thumbnails(data, copied, meta)
    needed: set[tuple[int, int]] = set()
    seen: set[tuple[tuple[int, int], ...]] = set()
    for item in items(data, meta, sharing=_PICTURE_ITEMS):
        if item.kind in _PICTURE_ITEMS and item.number not in thumbnails:
            needed.update(item.extents)
            continue
        is_new = item.number not in thumbnails or item.extents not in seen
        seen.add(item.extents)
        content = b"".join(data[start:end] for start, end in item.extents if is_new)
        for start, end in item.extents if is_new else ():
            copied[start:end] = bytes(end - start)
        if item.number in thumbnails:
            _collect_other(content, "thumbnail", metadata)
            # No reader looks for a picture there any more (ISO/IEC 23008-12, 6.4.2).
            copied[item.entry.body + 3] |= _HIDDEN_FLAG
        else:
            _collect_item(content, item.kind, metadata)
        if item.kind == b"Exif":
            _write(copied, item, bytes(_OFFSET_BYTES) + _EMPTY_TIFF)
        elif item.kind == b"mime" and _XMP_MARK in content:
            _write(copied, item, _EMPTY_XMP)
    for start, end in needed:
        _copy(data, copied, start, end)


def _thumbnails(data: bytes, copied: bytearray, meta: Box) -> set[int]:
    """Return the items that are thumbnails, and clear the references that say so.

    The primary item and its parts are none, whatever they are called: some programs write the
    reference the wrong way round, from the picture to its thumbnail.
    """
    parts: dict[int, set[int]] = {}
    found: set[int] = set()
    primary = primary_item(data, meta)
    for reference in references(data, meta):
        if reference.box.kind == b"dimg":
            parts.setdefault(reference.origin, set()).update(reference.targets)
        elif reference.box.kind == b"thmb":
            copied[reference.box.start + 4 : reference.box.start + 8] = b"skip"
            turned = reference.origin == primary
            found.update(reference.targets if turned else {reference.origin})
    return _with_parts(found, parts) - _with_parts({primary}, parts)


def _with_parts(numbers: set[int], parts: dict[int, set[int]]) -> set[int]:
    """Return items with those that they are made of, such as the tiles of a grid."""
    found, waiting = set[int](), numbers
    while waiting:
        found |= waiting
        waiting = {part for each in waiting for part in parts.get(each, ())} - found
    return found


def _collect_item(content: bytes, kind: bytes, metadata: Metadata) -> None:
    text = content.strip(b"\0")
    if text in _EMPTY:
        return
    metadata.size_bytes += len(content)
    if kind == b"Exif" and not metadata.exif.data:
        at = _OFFSET_BYTES + int.from_bytes(content[:_OFFSET_BYTES])
        metadata.exif = exif.parse(content[at:])
    elif kind == b"mime" and _XMP_MARK in text and not metadata.xmp.data:
        metadata.xmp = Packet(text)
    elif text:
        metadata.others.add("other")


def _write(copied: bytearray, item: Item, content: bytes) -> bytes:
    """Write an item's content where it fits into one extent; return the content that is left.

    In a crafted file an extent may also belong to the picture: then it is not empty.
    """
    for start, end in item.extents:
        is_empty = bytes(copied[start:end]).strip(b"\0") in _EMPTY
        if is_empty and len(content) <= end - start:
            copied[start:end] = content.ljust(end - start, b"\0")
            return b""
    return content
