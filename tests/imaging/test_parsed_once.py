"""The metadata of an upload is parsed once."""

import itertools

import pytest

from app.imaging.metadata import exif, iptc, xmp
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import blocks, images
from tests.support.developing import develop
from tests.support.every_case import every_case

PACKET = blocks.packet(
    b'<rdf:Description tiff:Orientation="6"><dc:rights>All mine</dc:rights></rdf:Description>'
)


@pytest.fixture
def parsed(monkeypatch):
    """Every block that is parsed from now on, by its parser."""
    seen = {exif: [], xmp: [], iptc: []}

    def watch(module, parse):
        def watched(block):
            seen[module].append(block)
            return parse(block)

        monkeypatch.setattr(module, "parse", watched)

    for module in seen:
        watch(module, module.parse)
    return seen


def test_each_block_of_an_upload_and_of_its_result_is_parsed_once(parsed):
    uploaded = {exif: blocks.camera_exif(6), xmp: PACKET, iptc: blocks.IPTC + blocks.CITY}
    data = images.jpeg(images.photo((320, 240)), private=False)
    inserted = (
        images.segment(0xE1, b"Exif\0\0" + uploaded[exif])
        + images.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + uploaded[xmp])
        + images.segment(0xED, b"Photoshop 3.0\0" + iptc.as_resources(uploaded[iptc]))
    )
    data = data[:2] + inserted + data[2:]
    with every_case() as case:
        for profile, option in itertools.product(Profile, MetadataOption):
            for seen in parsed.values():
                seen.clear()
            develop(data, profile=profile, metadata=option)
            for parser, seen in parsed.items():
                with case(f"{profile} with {option}: {parser.__name__}"):
                    assert seen[0] == uploaded[parser]
                    # The second is the result's, read to tell what was removed; a packet of XMP
                    # that is turned before it is filtered is a third. Packing reads both again.
                    turned = parser is xmp and option is MetadataOption.STRIP_GPS
                    packed = profile is Profile.LOSSLESS
                    assert len(seen) <= 2 + turned + 2 * packed
