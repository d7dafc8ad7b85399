"""API keys of the tests, and the headers that show them."""

from datetime import UTC, datetime
from pathlib import Path

from app.access import api_key, key_file
from app.access.access import Access
from app.access.key_file import StoredKey
from app.access.keys import Keys
from app.access.link_keys import LinkKeys
from app.access.links import Links
from app.access.read_rule import ReadRule
from app.access.scopes import Scope
from app.access.settings import AccessSettings
from app.access.tokens import Tokens

# That of a gateway without authentication.
NOWHERE = Path("/nonexistent/keys")
ACCESS = Access(Keys(NOWHERE), Tokens(()), Links(LinkKeys(NOWHERE)))
RULE = ReadRule(AccessSettings(), ACCESS)


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


def owner_of(key):
    """Return the principal of a key, as images name it."""
    return f"key:{key.split('_')[1]}"
