"""An image's id: 32 characters that say where its head record is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ImageNotFoundError
from app.log import Position
from app.records.address import Address, new_cookie, parse

ADDRESSES = st.builds(
    Address,
    st.builds(Position, st.integers(0, 2**16 - 1), st.integers(0, 2**48 - 1)),
    st.binary(min_size=12, max_size=12),
)


@given(ADDRESSES)
def test_an_address_survives_its_id(where):
    image_id = str(where)
    assert len(image_id) == 32
    assert image_id == image_id.lower()
    assert parse(image_id) == where


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=32, max_size=32))
def test_no_two_ids_name_one_image(image_id):
    assert str(parse(image_id)) == image_id


def test_the_layout_is_partition_offset_cookie_big_endian():
    where = Address(Position(0x0102, 0x030405060708), bytes(range(9, 21)))
    # base64.b32encode(bytes(range(1, 21))), and what any RFC 4648 decoder makes of it.
    assert str(where) == "aebagbafaydqqcikbmga2dqpcaireeyu"


@given(st.text(max_size=40))
def test_any_other_text_names_no_image(text):
    try:
        where = parse(text)
    except ImageNotFoundError:
        return
    assert str(where) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 31,
        "a" * 33,
        "A" * 32,
        "a" * 31 + "=",
        "a" * 31 + "1",
        "a" * 32 + "\n",
        "a" * 31 + "\u0131",
        "../" + "a" * 29,
    ],
)
def test_a_malformed_id_is_an_unknown_image(text):
    with pytest.raises(ImageNotFoundError):
        parse(text)


def test_only_the_key_of_its_own_record_opens_an_address():
    cookie = new_cookie()
    where = Address(Position(0, 0), cookie)
    assert where.opens(cookie.hex().encode())
    for key in (None, b"", cookie, cookie.hex().upper().encode(), cookie.hex().encode() + b"/1"):
        assert not where.opens(key)


def test_cookies_are_twelve_bytes_and_never_the_same():
    cookies = {new_cookie() for _ in range(1000)}
    assert len(cookies) == 1000
    assert {len(cookie) for cookie in cookies} == {12}
