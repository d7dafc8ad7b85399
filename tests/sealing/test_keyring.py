"""The keys of the settings: which are accepted, and how they wrap."""

import base64

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from app import settings
from app.errors import ConfigurationError, KeyUnavailableError
from app.sealing import wrapped_key
from app.sealing.configured import data_keys
from app.sealing.data_keys import NO_KEYS
from app.sealing.wrapped_key import WrappedKey
from tests.support.sealing import K1, K2, OTHER, ring


def keys(**section):
    return data_keys(settings.load(sealing=section).sealing)


async def test_the_first_key_wraps_by_aes_kw_and_any_unwraps():
    made = await keys(keys=ring(k2=K2, k1=K1)).new()
    assert made.wrapped.kek == "k2"
    assert aes_key_unwrap(K2, base64.b64decode(made.wrapped.text)) == made.plain
    assert len(made.plain) == 32
    assert await keys(keys=ring(k1=K1, k2=K2)).unwrap(made.wrapped) == made.plain
    assert repr(made.plain) not in repr(made)


async def test_two_images_never_share_a_key():
    ours = keys(keys=ring(k1=K1))
    assert len({(await ours.new()).plain for _ in range(100)}) == 100


async def test_a_key_that_is_another_or_not_there_unwraps_nothing():
    made = await keys(keys=ring(k1=K1)).new()
    for others in (keys(keys=ring(k1=OTHER)), keys(keys=ring(k2=K1)), NO_KEYS):
        with pytest.raises(KeyUnavailableError):
            await others.unwrap(made.wrapped)


async def test_many_are_unwrapped_at_once_each_with_its_own_outcome():
    ours = keys(keys=ring(k1=K1))
    made = [await ours.new() for _ in range(150)]
    wrapped = [each.wrapped for each in made]
    wrapped[7] = WrappedKey("k9", wrapped[7].text)
    found = await ours.unwrap_all(wrapped)
    assert isinstance(found.pop(7), KeyUnavailableError)
    assert found == [each.plain for number, each in enumerate(made) if number != 7]


def test_without_keys_nothing_is_sealed():
    assert not keys().seals


@pytest.mark.parametrize(
    "given",
    ["", "k1", "k1:", "k1:c2hvcnQ=", ring(k1=b"x" * 31), ring(k1=b"x" * 33), f"{ring(k1=K1)},"],
)
def test_a_key_of_another_length_is_refused_and_not_quoted(given):
    with pytest.raises(ConfigurationError) as caught:
        keys(keys=given)
    assert "IMAGEGATE_SEALING__KEYS" in caught.value.detail
    secret = given.partition(":")[2]
    assert not secret or secret not in caught.value.detail


def test_keys_in_two_places_are_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="IMAGEGATE_SEALING__KEYS_FILE"):
        keys(keys=ring(k1=K1), keys_file=tmp_path / "keys")


@pytest.mark.parametrize("content", [None, b"", b"k1", ring(k1=b"x" * 64).encode()])
def test_a_file_that_holds_no_keys_is_an_error_at_start(tmp_path, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="sealing keys"):
        keys(keys_file=file)


@pytest.mark.parametrize(
    "text",
    ["", "k1", "k1:", ":AAAA", "k1:A", "k1:AAAA ", "k 1:AAAA", "vault:AAAA:v1", f"k1:{'A' * 512}"],
)
def test_a_text_that_is_no_wrapped_key_is_refused(text):
    with pytest.raises(ValueError, match="no wrapped key"):
        wrapped_key.parse(text)


def test_a_wrapped_key_names_its_key_whatever_wrapped_it():
    for text in ("k1:AAAA", "vault:transit-key:v12:AAAA"):
        parsed = wrapped_key.parse(text)
        assert str(parsed) == text
        assert parsed.kek == text.removesuffix(":AAAA")
