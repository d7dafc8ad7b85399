"""What a worker makes of a job that fails."""

import threading

import pytest

from app.codec.worker import _run
from app.errors import ImageLimitError, InvalidImageError, UnpackError, UnsupportedFormatError


def failed(error):
    def job(_):
        raise error

    head, output = _run(job, b"", {})
    assert output == b""
    return head["code"]


@pytest.fixture
def no_threads(monkeypatch):
    def start(_):
        # As CPython says it when the kernel refuses (EAGAIN).
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("error", [InvalidImageError, UnpackError])
def test_an_image_is_not_to_blame_where_no_thread_can_be_started(no_threads, error):
    assert failed(error("damaged")) == "overloaded"


@pytest.mark.parametrize("error", [InvalidImageError, UnpackError])
def test_otherwise_it_is(error):
    assert failed(error("damaged")) == error.code


def test_what_no_thread_would_change_is_said_as_it_is(no_threads):
    assert failed(ImageLimitError("too large")) == ImageLimitError.code
    assert failed(UnsupportedFormatError("no known image format", "image/jpeg")) == (
        "unsupported-format"
    )
