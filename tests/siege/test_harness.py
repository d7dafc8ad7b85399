"""The harness itself: what counts as broken, what is measured, and where the table goes."""

import io

import pytest
from PIL import Image

from tests.support.siege import memory, table
from tests.support.siege.siege import FLOOR_SECONDS, Load, Outcome
from tests.support.siege.uploads import flat_webp_file

pytestmark = pytest.mark.cheap
ATTACK = {"sent_bytes": 2_500, "seconds": 10, "cpu_seconds": 0.5, "answers": {}}


def load(uploads=0.06, probes=0.01, status="201"):
    """Twenty of each, of which one is slower, or has another status."""
    return Load(
        {
            "uploads": [("201", 0.04)] * 18 + [(status, uploads)] * 2,
            "downloads": [("200", 0.01)] * 20,
            "probes": [("200", 0.01)] * 19 + [("200", probes)],
        }
    )


def outcome(under, alone=None, gateway_bytes=0, worker_bytes=0):
    return Outcome(alone or load(), under, ATTACK, gateway_bytes, worker_bytes)


def test_a_gateway_that_answers_as_it_does_alone_has_held():
    assert outcome(load()).broken() == []


@pytest.mark.parametrize("status", ["503", "429", "timeout", "cut off"])
def test_an_upload_that_is_not_201_is_named(status):
    assert outcome(load(status=status)).broken() == [f"uploads: 2 {status}"]


def test_uploads_may_take_three_times_as_long_as_alone_and_no_longer():
    assert outcome(load(uploads=0.179)).broken() == []
    assert outcome(load(uploads=0.181)).broken() == ["slow uploads"]


def test_a_faster_client_alone_counts_as_the_floor():
    fast = load(uploads=FLOOR_SECONDS / 5)
    assert outcome(load(uploads=FLOOR_SECONDS * 2.9), alone=fast).broken() == []


def test_a_single_slow_probe_in_a_hundred_is_too_many():
    assert outcome(load(probes=0.11)).broken() == ["slow probes"]


def test_memory_over_its_bounds_is_named():
    over = outcome(load(), None, memory.allowed_gateway_bytes() + 1, 10**12)
    assert over.broken() == ["gateway's memory", "worker's memory"]


def test_the_budgets_of_uploads_and_downloads_are_in_the_bound():
    assert memory.allowed_gateway_bytes() > 400_000_000 + 256_000_000 + 64_000_000


def test_the_table_replaces_what_is_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n")
    text = table.table([("silent", outcome(load(status="503")))])
    table.put_on_page(text, page)
    table.put_on_page(text, page)
    assert page.read_text() == f"before\n\n{table.BEGIN}\n\n{text}\n\n{table.END}\n\nafter\n"
    assert "| silent | 250 B/s, 5% | 18 of 20 | 60 ms, 60 ms |" in text
    assert text.endswith("| uploads: 2 503 |")


def test_the_page_has_a_place_for_the_table():
    text = table.PAGE.read_text("utf-8")
    assert text.count(table.BEGIN) == text.count(table.END) == 1


def test_the_flat_picture_is_one_in_32_bytes():
    data = flat_webp_file(700, 714)
    assert len(data) == len(flat_webp_file(7000, 7140)) == 32
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (700, 714)
        assert image.getcolors() == [(700 * 714, (130, 120, 140))]
