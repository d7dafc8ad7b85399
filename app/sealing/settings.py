"""Settings of the encryption of images: the keys that wrap those of the images."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from app import keyring
from app.section import SAFE_URL, Seconds, Section

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
    vault_url: str | None = Field(
        None,
        pattern=SAFE_URL,
        description="address of HashiCorp Vault; then its transit engine encrypts, and the keys"
        " above only decrypt; https, unless it is on loopback",
    )
    vault_key: str = Field(
        "imagegate", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="name of its key"
    )
    vault_mount: str = Field(
        "transit",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        max_length=200,
        description="path of the engine in Vault",
    )
    vault_namespace: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_/-]{1,200}$", description="namespace in Vault Enterprise"
    )
    vault_token: SecretStr | None = Field(
        None, min_length=1, description="token that may use `datakey` and `decrypt` of the key"
    )
    vault_token_file: Path | None = Field(
        None,
        description="file of the token, instead, such as an agent of Vault renews it; it is read"
        " again when it changes",
    )
    vault_ca_file: Path | None = Field(
        None,
        description="PEM file of the certificate authorities that Vault is known by; without it"
        " those of the system",
    )
    vault_timeout_seconds: Seconds = Field(3, description="how long Vault may take to answer")
    vault_cache_seconds: float = Field(
        300,
        ge=0,
        le=86_400,
        description="how long the key of an image that Vault has unwrapped stays in memory, and"
        " decrypts though Vault is away or forbids it",
    )

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            keyring.parse(keys.get_secret_value(), exactly=KEK_BYTES)
        return keys
