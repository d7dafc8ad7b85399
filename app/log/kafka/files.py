"""Files that change while the gateway runs: secrets and certificates of an orchestrator.

Hides when they are read: before a connection is made, if they are others than at the last one. What
cannot be used is logged once, and the last that could stays in use: a certificate and its key are
often not replaced at the same moment.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from app.errors import ConfigurationError
from app.file_stamp import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from app.file_stamp import Stamp

logger = structlog.get_logger(__name__)

T = TypeVar("T")


class ReadAgain(Generic[T]):
    """A value that is made of files, and made again when one of them is another.

    Args:
        files: The files.
        make: Makes the value; raises a `ConfigurationError` if a file cannot be used.
    """

    def __init__(self, files: Sequence[Path], make: Callable[[], T]) -> None:
        self._files = files
        self._make = make
        self._complained = False
        self._state = self._look()
        self._value = make()

    def current(self) -> T:
        """Return the value of the files as they are now, or as they last could be used. Blocks."""
        state = self._look()
        if state != self._state:
            try:
                self._value = self._make()
            except ConfigurationError as error:
                if not self._complained:
                    self._complained = True
                    logger.warning("kafka_file_unusable", reason=error.detail)
            else:
                logger.info("kafka_file_changed", files=[str(file) for file in self._files])
                self._state, self._complained = state, False
        return self._value

    def _look(self) -> list[Stamp]:
        return [stamp_of(file) for file in self._files]


def read_secret(file: Path) -> str:
    """Return the content of a file, without a line end after it.

    Raises:
        ConfigurationError: It cannot be read, or is empty.
    """
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
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
    for file in filter(None, (ca, cert, key)):
        _require_readable(file)
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{ca} has no certificates in the form PEM.") from error
    if cert is not None:
        try:
            # Without a password given, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert, key, password=lambda: "")
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"{key or cert} is not the key of the certificate in {cert}, is encrypted, or one"
                f" of them is not PEM ({error.reason or 'no reason given'})."
            ) from error
    return context


def _require_readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
