"""Settings of the encryption of images: the keys that wrap those of the images."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from app import keyring
from app.section import Section

# AES-256 has keys of 32 bytes.
KEK_BYTES = 32


class SealingSettings(Section):
    """Encryption of new images, and the keys of sealed ones. Without any, new ones are in clear."""

    keys: SecretStr | None = Field(
        None,
        description="NAME:BASE64 of keys of 32 bytes, separated by commas; new images are encrypted"
        " by the first, and any decrypts",
    )
    keys_file: Path | None = Field(
        None, description="file of these keys, instead; it is read again when it changes"
    )

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            keyring.parse(keys.get_secret_value(), exactly=KEK_BYTES)
        return keys
