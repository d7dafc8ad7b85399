"""The records of an image that was brought from another log, as an import writes them."""

import dataclasses
import json

from app.events.event import ImageDeleted, ImageStored, encode
from app.imaging.info import Visibility
from app.log import Position
from tests.support.facts import claimed, image_id, info


def moved_records(number=1):
    """Announce it and delete it, with all that both events can say."""
    described = info(content_length=40_000, owner="key:1", visibility=Visibility.OWNER)
    chunks, claim = (Position(0, 8), Position(2, 3)), claimed().claim
    announced = ImageStored(image_id(number), described, 16_384, chunks, claim)
    gone = ImageDeleted(image_id(number), described.owner, described.visibility, claim)
    version = {"imagegateversion": 3, "imagegateformerids": f"{image_id(8)},{image_id(9)}"}
    more = {"type": "image.moved", "imagegatecreatedat": "2025-03-04T05:06:07.089Z"}
    return _changed(encode(announced), **version, **more), _changed(encode(gone), **version)


def _changed(record, **members):
    value = json.dumps(json.loads(record.value) | members).encode()
    return dataclasses.replace(record, value=value)
