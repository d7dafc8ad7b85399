"""The file of the API keys: whom they are for, what they may do, and a digest of each secret.

Hides its form, JSON, and that it is replaced as a whole: a reader sees the old file or the new one,
and two commands at once both count.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from contextlib import contextmanager
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from app import given_file
from app.access import api_key, secret_file
from app.access.scopes import Scope
from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# Some ten thousand keys.
_MAX_BYTES = 4_000_000

_LOCK_MODE = 0o600
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


class StoredKey(BaseModel):
    """A key, without its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, StringConstraints(pattern=rf"^{api_key.ID.pattern}$")]
    name: Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Return whether it works at a time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    keys: tuple[StoredKey, ...] = ()

    @field_validator("keys")
    @classmethod
    def _check_once(cls, keys: tuple[StoredKey, ...]) -> tuple[StoredKey, ...]:
        """Refuse two keys of one id, of which one may be revoked and the other not."""
        [(key_id, count)] = Counter(each.id for each in keys).most_common(1) or [("", 0)]
        if count > 1:
            raise ValueError(f"there are {count} keys {key_id}")
        return keys


def read(path: Path) -> tuple[StoredKey, ...]:
    """Return the keys of a file; none if there is no file.

    Raises:
        ConfigurationError: It cannot be read, or is no file of keys.
    """
    try:
        content = given_file.read(path, _MAX_BYTES)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"The keys cannot be read: {path}: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(f"The file of keys has over {_MAX_BYTES:,} bytes: {path}.")
    try:
        return _Keys.model_validate_json(content).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"This is no file of keys: {path}: {place}: {first['msg']}."
        ) from error


@contextmanager
def changing(path: Path) -> Generator[list[StoredKey], None, None]:
    """Yield the keys of a file to change, and write them at the end unless it fails.

    Raises:
        ConfigurationError: It cannot be read or written, or is no file of keys.
    """
    try:
        # One lock for all links to a file.
        path = path.resolve()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Others could hold a lock that they may open: nothing would be revoked.
        lock_file = os.open(
            path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, _LOCK_MODE
        )
        with os.fdopen(lock_file) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = list(read(path))
            yield keys
            secret_file.write(path, _Keys(keys=tuple(keys)).model_dump_json(indent=2))
    except OSError as error:
        raise ConfigurationError(
            f"The keys cannot be written: {path}: {error.strerror}."
        ) from error
