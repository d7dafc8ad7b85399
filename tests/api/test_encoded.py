"""The JSON of listed images: made once, in bounded memory, and for one build of the catalog."""

import dataclasses
import json

import pytest

from app.api import schemas
from app.api.encoded import EncodedImages
from app.catalog.images import CatalogImage, row_of
from tests.support import facts


class Build:
    """The number of the catalog's build, which a feed knows."""

    epoch = 1


@pytest.fixture
def made(monkeypatch):
    """The ids of images whose JSON was made, each as often as it was."""
    ids, real = [], schemas.listed

    def listed(image):
        ids.append(image.id)
        return real(image)

    monkeypatch.setattr(schemas, "listed", listed)
    return ids


def image(number):
    return CatalogImage(facts.image_id(number), number, 1_700_000_000_000, row_of(facts.INFO))


def test_it_is_made_once_and_says_what_the_model_says(made):
    encoded = EncodedImages(Build())
    first = encoded.encode(image(1))
    assert encoded.encode(image(1)) is first
    assert made == [facts.image_id(1)]
    assert json.loads(first) == json.loads(schemas.listed(image(1)).model_dump_json())


def test_another_build_of_the_catalog_may_know_the_image_otherwise(made):
    build = Build()
    encoded = EncodedImages(build)
    before = json.loads(encoded.encode(image(1)))
    build.epoch += 1
    later = dataclasses.replace(image(1), created_at_ms=1_800_000_000_000)
    assert json.loads(encoded.encode(later))["created_at"] != before["created_at"]
    assert len(made) == 2


def test_what_was_asked_for_longest_ago_leaves_first_and_the_memory_is_bounded(made):
    encoded = EncodedImages(Build(), max_bytes=10_000)
    for number in range(50):
        encoded.encode(image(0))
        encoded.encode(image(number))
        assert encoded.held_bytes <= 10_000
    assert made.count(facts.image_id(0)) == 1
    encoded.encode(image(1))
    assert made.count(facts.image_id(1)) == 2
