"""API keys of the tests, and the headers that show them."""

from datetime import UTC, datetime

from app.access import api_key, key_file
from app.access.key_file import StoredKey
from app.access.scopes import Scope


def make_key(folder, *scopes, **options):
    """Write a key into the file of a gateway; returns its text."""
    key_id, secret = api_key.new()
    now = datetime.now(UTC)
    key = StoredKey(
        id=key_id,
        name="test",
        scopes=frozenset(map(Scope, scopes)),
        created_at=now,
        sha256=api_key.digest(secret),
        **options,
    )
    with key_file.changing(folder / "keys.json") as keys:
        keys.append(key)
    return api_key.text_of(key_id, secret)


def bearer(key):
    return {"authorization": f"Bearer {key}"}
