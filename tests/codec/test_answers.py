"""The answers of a worker that was taken over: nothing but a frame of ours is believed."""

import hashlib
import json
import os
import pickle
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codec.answer import parse
from app.codec.frame import ERRORS, MAX_DETAIL, MAX_HEAD_BYTES, MAX_TRACE, pack_head
from app.codec.tasks import Develop, Still, Unpack
from app.errors import (
    ImageLimitError,
    InternalError,
    InvalidImageError,
)
from app.imaging.formats import ImageFormat
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe
from tests.support import codec_jobs, images
from tests.support.codec_jobs import Do, do
from tests.support.codec_pools import make_pool, until
from tests.support.every_case import every_case

JPEG = images.jpeg(images.photo((64, 48)))


@pytest.fixture
async def pool():
    async with make_pool(workers=1) as pool:
        yield pool


def frame(head, output=b"", output_bytes=None):
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    output_bytes = len(output) if output_bytes is None else output_bytes
    return struct.pack(">IQ", len(head), output_bytes) + head + output


OWNED = Path(tempfile.gettempdir()) / f"owned-{os.getpid()}"


class Owned:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(OWNED),)


def json_bytes(value):
    return json.dumps(value).encode()


DONE = {"kind": "done", "properties": {"value": 1}}
FAILED = {"kind": "failed", "code": "invalid-image", "detail": "It is damaged.", "trace": ""}
FOREIGN = {
    "a pickle": pickle.dumps(Owned(), protocol=5),
    "a pickle as head": frame(pickle.dumps(Owned())),
    "no head": struct.pack(">IQ", 0, 0),
    "a head over the limit": struct.pack(">IQ", MAX_HEAD_BYTES + 1, 0),
    "four gigabytes of output": frame(DONE, output_bytes=2**32),
    "a byte more than it says": frame(DONE, b"xx", output_bytes=1),
    "all that 64 bits can say": struct.pack(">IQ", 2**32 - 1, 2**64 - 1),
    "no JSON": frame(b"{"),
    "another kind": frame({"kind": "run", "code": "1"}),
    "ready once more": frame({"kind": "ready", "in_force": []}),
    "one field more": frame(DONE | {"more": 1}),
    "deep JSON": frame(b"[" * 60_000),
    "an error that workers do not raise": frame(FAILED | {"code": "image-gone"}),
    "the name of a class": frame(FAILED | {"code": "GatewayError"}),
    "a detail over the limit": frame(FAILED | {"detail": "x" * (MAX_DETAIL + 1)}),
    "a trace over the limit": frame(FAILED | {"trace": "x" * (MAX_TRACE + 1)}),
    "a detail that is no text": frame(FAILED | {"detail": {"a": 1}}),
}


async def test_any_other_answer_is_a_500_and_the_worker_is_replaced(pool):
    with every_case() as case:
        for label, answer in FOREIGN.items():
            with case(label):
                before = await pool.run(do(codec_jobs.process_id), b"")
                with pytest.raises(InternalError, match="not understood"):
                    await pool.run(do(codec_jobs.raw), answer)
                assert await pool.run(do(codec_jobs.process_id), b"") != before
    assert not OWNED.exists()


async def test_an_answer_may_come_in_pieces(pool):
    for output in (os.urandom(100), os.urandom(300_000)):
        for at in (1, 11, 12, 13, 40, 80, len(output)):
            assert await pool.run(do(codec_jobs.echo_in_pieces, at=at), output) == output


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json_bytes))
def test_a_head_of_any_bytes_is_a_value_error_at_worst(head):
    with suppress(ValueError):
        parse(head)


async def test_an_answer_that_nobody_asked_for_is_given_to_nobody(pool):
    forged = frame({"kind": "done", "properties": {"value": "forged"}})
    before = await pool.run(do(codec_jobs.process_id), b"")
    # The first answer is the forged one; the true one comes when nobody asks any more, or with it.
    with suppress(InternalError):
        assert await pool.run(do(codec_jobs.twice), forged) == "forged"
    await until(
        lambda: before not in [each._process.pid for each in pool._workers.alive if each.idle]
    )
    assert await pool.run(do(codec_jobs.length), b"four") == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"received_bytes": 1},
        {"stored_bytes": 1},
        {"content_length": 1},
        {"content_type": "image/png"},
        {"content_type": "text/html"},
        {"width": 0},
        {"width": 16_384},
        {"width": 2**70},
        {"height": "many"},
        {"frame_count": 1_001},
        {"filename": "../../x"},
        {"profile": "small"},
        {"codec": "jpeg\r\nSet-Cookie: x"},
        {"codec": "x" * 101},
        {"metadata_removed": ["\x1b[2J"]},
        {"content_encoding": "gzip"},
        {"content_encoding": "lepton"},
        {"quality": float("nan")},
        {"owner": "key:1"},
        {"visibility": "public"},
    ],
    ids=str,
)
async def test_properties_that_cannot_be_are_not_believed(pool, changed):
    task = Lie(ImageFormat.JPEG, ImageLimits(), Recipe(), changed)
    with pytest.raises(InternalError, match="not understood"):
        await pool.run(task, JPEG)


@pytest.mark.parametrize("digest", ["0" * 64, "", "not a digest", None])
async def test_digests_are_those_of_the_bytes_whatever_a_worker_says(pool, digest):
    changed = {"received_digest": digest, "digest": digest}
    developed = await pool.run(Lie(ImageFormat.JPEG, ImageLimits(), Recipe(), changed), JPEG)
    assert developed.info.received_digest == hashlib.sha256(JPEG).hexdigest()
    assert developed.info.digest == hashlib.sha256(developed.data).hexdigest()


@pytest.mark.parametrize("output", ["<script>", "", "II*\0" + "\0" * 20])
async def test_bytes_that_are_no_image_to_store_are_not_believed(pool, output):
    task = Lie(ImageFormat.JPEG, ImageLimits(), Recipe(), {"stored_bytes": len(output)}, output)
    with pytest.raises(InternalError, match="not understood"):
        await pool.run(task, JPEG)


class Lie(Develop):
    """A task like `Develop` for a worker that was taken over."""

    name = "lie"

    def __init__(self, image_format, limits, recipe, changed, output=None):
        super().__init__(image_format, limits, recipe)
        object.__setattr__(self, "said", {"changed": changed, "output": output})

    @property
    def arguments(self):
        return self.said


async def test_an_image_over_the_limit_of_its_task_is_not_read(pool):
    task = Do("echo", most=1000)
    assert await pool.run(task, bytes(1000)) == bytes(1000)
    with pytest.raises(InternalError, match="not understood") as refused:
        await pool.run(task, bytes(1001))
    assert "output of 1,001 bytes" in str(refused.value.__cause__)


def test_every_task_bounds_its_output():
    limits = ImageLimits(max_pixels=1_000_000, max_metadata_bytes=10_000)
    recipe = Recipe(Profile.ORIGINAL)
    assert Develop(ImageFormat.JPEG, limits, recipe).max_output_bytes(bytes(9)) < 6_000_000
    assert Develop(ImageFormat.JPEG, limits, recipe).max_output_bytes(bytes(9_000_000)) > 9_000_000
    assert Still(limits, 640).max_output_bytes(b"") < 3_000_000
    assert Unpack(1234, "").max_output_bytes(b"") == 1234


def test_an_error_that_a_worker_raises_can_always_be_framed():
    worst = "\U0001f600"
    head = {"kind": "failed", "code": "image-limit-exceeded"}
    head |= {"detail": worst * MAX_DETAIL, "trace": worst * MAX_TRACE}
    assert len(pack_head(head, 0)) <= MAX_HEAD_BYTES + 12
    with pytest.raises(ValueError, match="A head of"):
        pack_head({"detail": "x" * MAX_HEAD_BYTES}, 0)


def test_text_of_a_worker_cannot_steer_a_terminal():
    said = {"detail": "\x1b[2J\x9b2J\u202e", "trace": "a\nb\rc"}
    error = parse(json.dumps(FAILED | said).encode()).error()
    assert error.detail == " [2J 2J "
    assert str(error.__cause__) == "a\nb c"


def test_every_error_of_the_table_can_be_built():
    for code, error in ERRORS.items():
        built = parse(json.dumps(FAILED | {"code": code}).encode()).error()
        assert (type(built), built.code) == (error, code)


async def test_refusals_leave_the_worker_alone(pool):
    pid = await pool.run(do(codec_jobs.process_id), b"")
    for error in (ImageLimitError, InvalidImageError):
        task = do(codec_jobs.refuse, error=error.__name__, arguments=["No."])
        with pytest.raises(error):
            await pool.run(task, b"")
    assert await pool.run(do(codec_jobs.process_id), b"") == pid
