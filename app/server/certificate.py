"""The gateway's certificate: what TLS shows to clients, and until when it is valid."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from app.errors import ConfigurationError
from app.key_pair import load_key_pair
from app.section import variable
from app.telemetry.metrics import CERTIFICATE_EXPIRES

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from app.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate in use."""

    context: ssl.SSLContext
    expires: dt.datetime


def files_of(http: ServerSettings) -> tuple[Path, Path] | None:
    """Return the files of the certificate and of its key; None if the gateway has none.

    Raises:
        ConfigurationError: Only one is set.
    """
    cert, key = http.tls_cert_file, http.tls_key_file
    if cert is not None and key is not None:
        return cert, key
    if cert is None and key is None:
        return None
    names = (variable("http", f"tls_{each}_file") for each in ("cert", "key"))
    raise ConfigurationError(f"{' and '.join(names)} go together: set both, or none.")


def read_certificate(cert: Path, key: Path) -> Certificate:
    """Read a certificate, with its chain, and its key. Blocks.

    Raises:
        ConfigurationError: A file cannot be used, or the key is another certificate's.
    """
    # Not `create_default_context`, which writes the secrets of sessions where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # TLS 1.2 lets a client have the handshake repeated, which costs it less than us.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    load_key_pair(context, cert, key)
    try:
        first = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{cert} has no certificates in the form PEM.") from error
    return Certificate(context, first.not_valid_after_utc)


def read_to_show(cert: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate that is shown from now on; the metric says when it expires. Blocks.

    Raises:
        ConfigurationError: A file cannot be used, or the key is another certificate's.
    """
    certificate = read_certificate(cert, key)
    CERTIFICATE_EXPIRES.set(certificate.expires.timestamp())
    return certificate.context
