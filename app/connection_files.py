"""Secrets and certificates that connections to brokers and to Vault need, read from files."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from app import given_file
from app.errors import ConfigurationError
from app.key_pair import load_key_pair, require_readable

if TYPE_CHECKING:
    from pathlib import Path

# Passwords and tokens have some kilobytes at the most.
_MAX_SECRET_BYTES = 1_000_000


def read_secret(file: Path) -> str:
    """Return the content of a file, without a line end after it.

    Raises:
        ConfigurationError: It cannot be read, or is empty.
    """
    try:
        with given_file.opened(file) as opened:
            text = opened.read(_MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        # Its message would quote a byte of the secret.
        raise ConfigurationError(f"{file} is not UTF-8.") from None
    if not text:
        raise ConfigurationError(f"{file} is empty.")
    return text


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return a context of TLS that verifies names and certificates. Blocks.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    if ca is not None:
        require_readable(ca)
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{ca} has no certificates in the form PEM.") from error
    if cert is not None:
        load_key_pair(context, cert, key)
    return context
