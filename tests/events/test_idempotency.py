"""Tokens and fingerprints: the same upload has the same, and no other has."""

from itertools import combinations

from app.events.idempotency import Idempotency, fingerprint_of, keyed, token_of

KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


def test_a_token_is_of_one_client_one_link_one_key_and_one_position():
    tokens = [
        token_of("key:1", "", KEY),
        token_of("key:2", "", KEY),
        token_of("", "", KEY),
        token_of("key:1", "A" * 16, KEY),
        token_of("", "key:1", KEY),
        token_of("key:1", "", KEY.upper()),
        *(token_of("key:1", "", KEY, position) for position in (0, 1, 10)),
        token_of("key:1", "", f"{KEY}0"),
    ]
    assert len(set(tokens)) == len(tokens)
    assert tokens[0] == token_of("key:1", "", KEY)
    assert not [each for each in tokens if KEY in each]


def test_a_fingerprint_is_of_the_bytes_the_name_and_the_options_in_any_order():
    small, owner = ("profile", "small"), ("visibility", "owner")
    prints = [
        fingerprint_of(b"a", None, ()),
        fingerprint_of(b"b", None, ()),
        fingerprint_of(b"a", "", ()),
        fingerprint_of(b"a", "a.png", ()),
        fingerprint_of(b"a", "profile", [("small", "")]),
        fingerprint_of(b"a", None, [small]),
        fingerprint_of(b"a", None, [("profile", "original")]),
        fingerprint_of(b"a", None, [small, owner]),
    ]
    assert len(set(prints)) == len(prints)
    assert prints[-1] == fingerprint_of(b"a", None, [owner, small])


def test_the_fingerprint_of_an_encrypted_image_is_another_under_each_key():
    plain = Idempotency(token_of("", "", KEY), fingerprint_of(b"a", None, ()))
    stated = [plain, plain.keyed(bytes(32)), plain.keyed(b"\1" * 32)]
    assert all(one.fingerprint != other.fingerprint for one, other in combinations(stated, 2))
    assert {each.token for each in stated} == {plain.token}
    assert stated[1].fingerprint == keyed(plain.fingerprint, bytes(32))
