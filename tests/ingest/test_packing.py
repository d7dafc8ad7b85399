"""Packing is optional: whatever becomes of it, the upload is stored as it was before."""

import io

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from app.codec.tasks import Develop, Pack
from app.imaging.formats import sniff
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe
from app.ingest.development import Development
from app.ingest.upload import Upload
from tests.support import images, odd_images
from tests.support.codec_pools import make_pool
from tests.support.developing import served

LIMITS = ImageLimits()


async def developed(pool, data, profile=Profile.LOSSLESS, packing_seconds=5.0, **recipe):
    development = Development(pool, LIMITS, packing_seconds)
    upload = Upload(data, None, Recipe(profile, **recipe))
    return await development.develop(upload, sniff(data), "192.0.2.1")


def given_up(reason):
    name = "imagegate_packings_given_up_total"
    return REGISTRY.get_sample_value(name, {"reason": reason}) or 0


@pytest.fixture
async def pool():
    async with make_pool(workers=1) as pool:
        yield pool


class TestPacked:
    @pytest.mark.parametrize(
        ("make", "profile", "codec"),
        [
            (images.jpeg, Profile.LOSSLESS, "mozjpeg lossless"),
            (images.png, Profile.LOSSLESS, "oxipng 2"),
            (images.png, Profile.BALANCED, "oxipng 1"),
            (images.bmp, Profile.LOSSLESS, "oxipng 2"),
            (images.jpeg, Profile.ARCHIVE, "lepton"),
        ],
    )
    async def test_an_image_is_packed_and_looks_the_same(self, pool, make, profile, codec):
        data = make(images.photo((320, 240)))
        stored = await developed(pool, data, profile)
        assert stored.info.codec == codec
        assert images.same_pixels(images.pixels(data), images.pixels(served(stored)))

    async def test_what_a_packer_removes_is_in_the_receipt_beside_what_went_before(self, pool):
        data = images.png(images.photo((320, 240)), orientation=6)
        stored = await developed(pool, data)
        assert {"gps", "xmp"} <= set(stored.info.metadata_removed)

    async def test_webp_is_chosen_where_the_client_accepts_it(self, pool):
        stored = await developed(pool, images.png(images.photo((320, 240))), webp=True)
        assert (stored.info.content_type, stored.info.codec) == ("image/webp", "webp lossless")


class TestGivenUp:
    async def test_a_jpeg_at_which_mozjpeg_ends_its_process_is_stored(self, pool):
        data = odd_images.jpeg_beyond_its_range()
        before = given_up("decoder-crashed")
        with capture_logs() as lines, bound_contextvars(request_id="r1"):
            stored = await developed(pool, data)
        assert (stored.info.codec, stored.info.kept) == ("original", True)
        assert images.same_pixels(images.pixels(data), images.pixels(stored.data))
        [line] = [line for line in lines if line["event"] == "packing_given_up"]
        assert (line["reason"], line["request_id"]) == ("decoder-crashed", "r1")
        assert given_up("decoder-crashed") == before + 1

    @pytest.mark.parametrize(
        ("job", "reasons"),
        [
            ("crash", {"decoder-crashed"}),
            # On a busy machine the clock ends it first.
            ("spin", {"decode-timeout", "overloaded"}),
            ("blunder", {"internal-error"}),
            ("devour", {"image-limit-exceeded"}),
            ("raw", {"internal-error"}),
        ],
    )
    async def test_any_failure_of_a_packer_costs_bytes_alone(self, pool, monkeypatch, job, reasons):
        monkeypatch.setattr(Pack, "name", job)
        monkeypatch.setattr(Pack, "arguments", {})
        data = images.png(images.photo((320, 240)))
        with capture_logs() as lines:
            stored = await developed(pool, data, packing_seconds=0.3)
        assert stored.info.kept
        assert images.same_pixels(images.pixels(data), images.pixels(stored.data))
        [line] = [line for line in lines if line["event"] == "packing_given_up"]
        assert line["reason"] in reasons

    async def test_a_result_that_is_larger_or_another_image_is_not_believed(self, pool):
        data = images.png(images.photo((320, 240)))
        task = Develop(sniff(data), LIMITS, Recipe(Profile.LOSSLESS))
        first = await pool.run(task, data)
        pack = Pack(first.info, LIMITS, task.recipe, 5)
        packed = await pool.run(pack, first.data)
        assert pack.max_output_bytes(first.data) == len(first.data)
        said = packed.info.as_dict()
        assert await pack.result(said, packed.data, first.data) == packed
        for wrong in (
            {"width": 321},
            {"profile": "original"},
            {"received_digest": "0" * 64},
            {"content_encoding": "lepton"},
            {"content_type": "image/jpeg"},
            {"owner": "somebody"},
        ):
            with pytest.raises(ValueError, match=r"cannot be|was encoded"):
                await pack.result(said | wrong, packed.data, first.data)

    async def test_a_scan_too_large_to_be_packed_is_a_png_all_the_same(self, pool):
        data = images.saved(images.photo((640, 480), noise=60), "TIFF")
        stored = await developed(pool, data, packing_seconds=0.01)
        assert stored.info.codec == "png deflate 3"
        assert images.same_pixels(images.pixels(data), Image.open(io.BytesIO(stored.data)))
