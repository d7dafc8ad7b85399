"""The metadata of an upload is parsed once, whatever is asked of it."""

import itertools

import pytest

from app.imaging.metadata import exif, iptc, xmp
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop

PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>All mine</dc:rights>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
DATASETS = b"\x1c\x02\x74\x00\x08All mine\x1c\x02\x5a\x00\x06Vienna"


@pytest.fixture
def parsed(monkeypatch):
    """Every block that is parsed from now on, by its parser."""
    blocks = {exif: [], xmp: [], iptc: []}

    def watch(module, parse):
        def watched(block):
            blocks[module].append(block)
            return parse(block)

        monkeypatch.setattr(module, "parse", watched)

    for module in blocks:
        watch(module, module.parse)
    return blocks


def test_each_block_of_an_upload_and_of_its_result_is_parsed_once(parsed):
    block = images.camera_exif(6)
    data = images.jpeg(images.photo((320, 240)), private=False)
    inserted = (
        images.segment(0xE1, b"Exif\0\0" + block)
        + images.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + PACKET)
        + images.segment(0xED, b"Photoshop 3.0\0" + iptc.as_resources(DATASETS))
    )
    data = data[:2] + inserted + data[2:]
    uploaded = {exif: block, xmp: PACKET, iptc: DATASETS}
    failures = []
    for profile, option in itertools.product(Profile, MetadataOption):
        for blocks in parsed.values():
            blocks.clear()
        develop(data, profile=profile, metadata=option)
        for parser, blocks in parsed.items():
            assert blocks[0] == uploaded[parser]
            # The second is the result's, of which a receipt says what is missing.
            if len(blocks) > 2:
                name = f"{profile} with {option}: {parser.__name__}"
                failures.append(f"{name} parsed {len(blocks)} blocks")
    assert failures == []
