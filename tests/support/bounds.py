"""The bounds of what is read from the log, said again and apart from the code."""

import math
import re
import unicodedata

FORMATS = ("jpeg", "png", "webp", "gif", "avif", "heic", "tiff", "bmp")


def within_bounds(info):
    """Check that every property of an image is one that a gateway could have written."""
    assert info.content_type in [f"image/{name}" for name in FORMATS]
    for size in (info.content_length, info.received_bytes, info.stored_bytes):
        assert type(size) is int
        assert 0 < size < 2**53
    for count in (info.width, info.height, info.frame_count):
        assert type(count) is int
        assert 0 < count < 2**31
    for digest in (info.digest, info.received_digest):
        assert re.fullmatch("[0-9a-f]{64}", digest)
    if info.filename is not None:
        assert 0 < len(info.filename) <= 200
        assert info.filename.encode()
        assert not {"/", "\\"} & set(info.filename)
        assert not {unicodedata.category(each) for each in info.filename} & {"Cc", "Cs"}
        assert not {unicodedata.bidirectional(each) for each in info.filename} & {"RLO", "LRO"}
    labels = [info.profile, info.codec, *info.metadata_removed]
    if info.content_encoding:
        labels.append(info.content_encoding)
    else:
        assert info.stored_bytes == info.content_length
    assert all(each.isascii() and each.isprintable() and len(each) <= 100 for each in labels)
    assert len(info.metadata_removed) <= 64
    assert type(info.kept) is bool
    assert info.quality is None or math.isfinite(info.quality)
