"""IPTC-IIM: datasets in an image resource of Photoshop.

Sources: IPTC-IIM 4.2 (1.5 datasets, 1:90 coded character set, chapter 6 record 2); Adobe Photoshop
file formats, image resource 0x0404.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from app.imaging.metadata.exif import clean_notice

if TYPE_CHECKING:
    from collections.abc import Iterator

_RESOURCE = re.compile(rb"8BIM\x04\x04(.)", re.DOTALL)
_DATASET_MARK, _HEADER_BYTES = 0x1C, 5

# Longer datasets say their length in another way; they are pictures (1.5).
_MAX_LENGTH = 0x7FFF

_COPYRIGHT = (2, 116)

# Character set, version, title, dates, program, author, headline, credit, source, caption.
_LOCATIONLESS = frozenset(
    {(1, 90), (2, 0), (2, 5), (2, 55), (2, 60), (2, 62), (2, 63), (2, 65), (2, 70)}
    | {(2, 80), (2, 85), (2, 105), (2, 110), (2, 115), _COPYRIGHT, (2, 120), (2, 122)}
)


@dataclass(frozen=True)
class Datasets:
    """A run of datasets, parsed once, at the first use."""

    data: bytes = b""

    @cached_property
    def _parsed(self) -> tuple[tuple[tuple[int, int], bytes], ...]:
        return tuple(parse(self.data))

    @property
    def copyright_notice(self) -> str:
        """The notice; empty where there is none."""
        for kind, dataset in self._parsed:
            if kind == _COPYRIGHT:
                return clean_notice(dataset[_HEADER_BYTES:])
        return ""

    @property
    def kinds(self) -> set[tuple[int, int]]:
        """Record and number of each dataset."""
        return {kind for kind, _ in self._parsed}

    @property
    def without_location(self) -> bytes:
        """Only those datasets that name no place and hold no picture."""
        return b"".join(dataset for kind, dataset in self._parsed if kind in _LOCATIONLESS)


def of_resources(resources: bytes) -> bytes:
    """Return the datasets among image resources, without the other resources."""
    if (found := _RESOURCE.search(resources)) is None:
        return b""
    # A name, counted and padded to a word, precedes the size.
    name_bytes = 1 + found[1][0]
    at = found.end() - 1 + name_bytes + name_bytes % 2
    return resources[at + 4 : at + 4 + int.from_bytes(resources[at : at + 4])]


def as_resources(iptc: bytes) -> bytes:
    """Return datasets as an image resource."""
    return b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc + b"\0" * (len(iptc) % 2)


def parse(iptc: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield record and number of each dataset, and all of it; end where one makes no sense."""
    at = 0
    while at + _HEADER_BYTES <= len(iptc) and iptc[at] == _DATASET_MARK:
        length = int.from_bytes(iptc[at + 3 : at + 5])
        end = at + _HEADER_BYTES + length
        if length > _MAX_LENGTH or end > len(iptc):
            return
        yield (iptc[at + 1], iptc[at + 2]), iptc[at:end]
        at = end
