"""A certificate and its key, for TLS: loaded, or refused with a reason that helps."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from app import given_file
from app.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def load_key_pair(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Have a context show a certificate; without `key`, the key is in the same file. Blocks.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    for file in filter(None, (cert, key)):
        require_readable(file)
    try:
        # Without a password given, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{key or cert} is not the key of the certificate in {cert}, is encrypted, or one"
            f" of them is not PEM ({error.reason or 'no reason given'})."
        ) from error


def require_readable(file: Path) -> None:
    """Open a file once. Blocks.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        given_file.opened(file).close()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
