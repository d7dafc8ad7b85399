"""The keys of images as the settings name them.

Hides which files are read, and that they are read again when they change.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from app import keyring
from app.connection_files import client_context, read_secret
from app.errors import ConfigurationError
from app.read_again import ReadAgain
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.sealing.local_keys import LocalKeys
from app.sealing.settings import KEK_BYTES
from app.sealing.vault import PREFIX, VaultKeys
from app.section import variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.sealing.settings import SealingSettings


def data_keys(settings: SealingSettings) -> DataKeys:
    """Return the keys that the settings name. Blocks.

    Raises:
        ConfigurationError: A file cannot be used, or the settings do not fit together.
    """
    ring = _ring(settings)
    local = None if ring is None else LocalKeys(ring)
    if settings.vault_url is None:
        return NO_KEYS if local is None else DataKeys(local)
    is_https = settings.vault_url.startswith("https:")
    vault = VaultKeys(
        settings.vault_url,
        settings.vault_mount,
        settings.vault_key,
        _token(settings),
        timeout_seconds=settings.vault_timeout_seconds,
        cache_seconds=settings.vault_cache_seconds,
        namespace=settings.vault_namespace or "",
        tls=client_context(settings.vault_ca_file, None, None) if is_https else True,
    )
    return DataKeys(local, vault)


def key_ids(settings: SealingSettings) -> list[str]:
    """Return the ids of the key-encryption keys here; of Vault's, that of all its versions. Blocks.

    Raises:
        ConfigurationError: As `data_keys`.
    """
    ring = _ring(settings)
    ids = [] if ring is None else list(ring())
    return ids if settings.vault_url is None else [*ids, f"{PREFIX}{settings.vault_key}"]


def _ring(settings: SealingSettings) -> Callable[[], dict[str, bytes]] | None:
    match settings.keys, settings.keys_file:
        case None, None:
            return None
        case None, Path() as file:
            what = f"sealing keys ({_named('keys_file')})"
            return ReadAgain([file], partial(keyring.read, file, what, exactly=KEK_BYTES)).recent
        case SecretStr() as given, None:
            keys = keyring.parse(given.get_secret_value(), exactly=KEK_BYTES)
            return lambda: keys
    raise ConfigurationError(f"Give one of {_named('keys')} and {_named('keys_file')}.")


def _token(settings: SealingSettings) -> Callable[[], str]:
    match settings.vault_token, settings.vault_token_file:
        case None, Path() as file:
            return ReadAgain([file], partial(read_secret, file)).recent
        case SecretStr() as given, None:
            return given.get_secret_value
    raise ConfigurationError(
        f"Vault needs one of {_named('vault_token')} and {_named('vault_token_file')}."
    )


def _named(setting: str) -> str:
    return variable("sealing", setting)
