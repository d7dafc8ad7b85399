"""The one rule for file names: what an upload's becomes is what is read back."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.api.form import clean_filename
from app.imaging.names import is_filename, is_label

HOSTILE = "\x00\x1b\x7f\x85\u200e\u200f\u202a\u202e\u2066\u2069/\\ .%22\ud7ff\U0001f4f7"


@settings(deadline=None)
@given(
    st.binary(max_size=300)
    | st.text(st.sampled_from(HOSTILE) | st.characters()).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
@example("é".encode() * 300)
@example(b"../../a.jpg")
@example(b" " * 300 + b"x")
def test_every_name_of_an_upload_is_one_that_is_read_from_the_log(raw):
    name = clean_filename(raw.decode("utf-8", "replace"))
    assert name is None or is_filename(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 201, "a/b", "a\\b", "a\nb", "a\x9bb", "a\u202eb", "a\u2066b", "\ud800"]
)
def test_a_name_that_no_upload_can_have_is_none(name):
    assert not is_filename(name)


@pytest.mark.parametrize("label", ["", "x" * 101, "a\n", "\x7f", "é", "\u202e"])
def test_a_label_is_short_and_printable(label):
    assert is_label("jpegli q85")
    assert not is_label(label)
