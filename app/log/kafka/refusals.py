"""The reasons why Kafka, or the server of its tokens, refuses the gateway, each with a remedy.

Hides the words. Nothing here quotes a secret, or a text that a server could have put one into.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from app.errors import ConfigurationError
from app.section import variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from app.log.kafka.settings import KafkaSettings

# OpenSSL's X509_V_ERR_…, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/.
_UNKNOWN_CA, _EXPIRED, _WRONG_NAME = {2, 18, 19, 20, 21}, {9, 10}, {62, 64}
# TLS alerts about the certificate of a client, as OpenSSL names them (RFC 8446, section 6.2). Java
# sends `bad_certificate` for a missing one up to TLS 1.2 (RFC 5246 has `handshake_failure`), and
# `certificate_unknown` for one that has expired as well as for one of another authority.
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it is missing",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is missing or damaged",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it is missing, or nothing else is common to both",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it has expired, or its authority is unknown there",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "its kind is not supported",
    "TLSV1_ALERT_UNKNOWN_CA": "its certificate authority is not one that the broker knows",
    "TLSV1_ALERT_ACCESS_DENIED": "it has no access",
}


class RefusedError(ConfigurationError):
    """Kafka refuses the gateway, and will until somebody changes something.

    Args:
        found: What was found, as a clause.
        remedy: What to do, as a clause.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}. Remedy: {remedy}.")
        self.found = found
        self.remedy = remedy


def wrong_credentials(address: str, settings: KafkaSettings) -> RefusedError:
    """Return the refusal of a password or a token."""
    mechanism = settings.sasl_mechanism
    if mechanism is None or not mechanism.uses_password:
        return _wrong_token(address, settings)
    named = variable(
        "kafka", "sasl_password_file" if settings.sasl_password_file else "sasl_password"
    )
    return RefusedError(
        f"{address} refuses the user {settings.sasl_username} by {mechanism}: the name or the"
        " password is wrong",
        f"correct {variable('kafka', 'sasl_username')} or {named}, or give the user a password for"
        f" {mechanism} on the brokers",
    )


def _wrong_token(address: str, settings: KafkaSettings) -> RefusedError:
    """Return the refusal of a token by a broker."""
    if settings.aws_region:
        return RefusedError(
            f"{address} refuses the gateway's AWS identity",
            "give its role a policy with kafka-cluster:Connect on the cluster, and check the"
            f" machine's clock and {variable('kafka', 'aws_region')}",
        )
    return RefusedError(
        f"{address} refuses the token of {settings.oauth_token_url}",
        "compare issuer, audience and keys on the brokers (sasl.oauthbearer.expected.issuer,"
        " ….expected.audience, ….jwks.endpoint.url) with the token, the clocks, and"
        f" {variable('kafka', 'oauth_scope')}",
    )


def no_token(settings: KafkaSettings, status: int, code: str) -> RefusedError:
    """Return the refusal of the token server; `code` is its error code by RFC 6749."""
    said = f"{status} {code}".strip()
    return RefusedError(
        f"{settings.oauth_token_url} gives no token to the client {settings.oauth_client_id}"
        f" ({said})",
        f"correct {variable('kafka', 'oauth_client_id')}, its secret,"
        f" {variable('kafka', 'oauth_scope')} or {variable('kafka', 'oauth_token_url')}, and allow"
        " the client the grant client_credentials",
    )


def no_aws_token(reason: str) -> RefusedError:
    """Return the reason why no token for MSK could be signed."""
    return RefusedError(
        f"there are no credentials of AWS to sign in with ({reason})",
        "give the process a role or credentials, as every AWS SDK finds them",
    )


def other_mechanism(address: str, wanted: str, offered: Iterable[str]) -> RefusedError:
    """Return that a listener does not offer the mechanism."""
    return RefusedError(
        f"{address} does not offer {wanted}, but {', '.join(offered)}",
        f"correct {variable('kafka', 'sasl_mechanism')}, or sasl.enabled.mechanisms of the brokers",
    )


def impostor(address: str) -> RefusedError:
    """Return that a broker cannot prove that it knows the password."""
    return RefusedError(
        f"{address} answers by SCRAM as a broker that does not know the password would",
        "find out who listens there, before anything else",
    )


def other_protocol(address: str, reason: str, protocol: str) -> RefusedError:
    """Return that a listener speaks another protocol."""
    return RefusedError(
        f"{address} {reason}",
        f"set {variable('kafka', 'security_protocol')} to {protocol}, or use the address"
        " of another listener",
    )


def of_tls(address: str, error: BaseException, settings: KafkaSettings) -> RefusedError | None:
    """Return what TLS refuses, here or at the broker; None if that is not the cause."""
    for each in causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return others_certificate(address, each, "tls_ca_file")
        if isinstance(each, ssl.SSLError) and each.reason in _ALERTS:
            return own_certificate(address, _ALERTS[each.reason], settings)
        if isinstance(each, ssl.SSLError) and each.reason == "UNSUPPORTED_PROTOCOL":
            return RefusedError(
                f"{address} has no version of TLS from 1.2 on",
                "allow TLS 1.2 or 1.3 on the brokers",
            )
    return None


def own_certificate(address: str, reason: str, settings: KafkaSettings) -> RefusedError:
    """Return that a broker refuses the gateway's certificate, or misses one."""
    names = f"{variable('kafka', 'tls_cert_file')} and {variable('kafka', 'tls_key_file')}"
    if settings.tls_cert_file is None:
        return RefusedError(
            f"{address} requires a certificate of the gateway, which has none", f"set {names}"
        )
    return RefusedError(
        f"{address} refuses the certificate in {settings.tls_cert_file}: {reason}",
        f"put another into the files of {names}, or its authority into the brokers' truststore",
    )


def others_certificate(
    address: str, error: ssl.SSLCertVerificationError, ca_setting: str
) -> RefusedError:
    """Return that the certificate of a broker, or of the token server, is refused here."""
    if error.verify_code in _WRONG_NAME:
        return RefusedError(
            f"the certificate of {address} is for another name",
            "connect by a name of the certificate (brokers: advertised.listeners too), or add this"
            " one to its subjectAltName",
        )
    if error.verify_code in _EXPIRED:
        return RefusedError(
            f"the certificate of {address} has expired, or is not valid yet",
            "renew it there, and compare the clocks",
        )
    if error.verify_code in _UNKNOWN_CA:
        return RefusedError(
            f"the certificate of {address} is of an authority that is not known here",
            f"put the authority's certificate into the file of {variable('kafka', ca_setting)}",
        )
    return RefusedError(
        f"the certificate of {address} is not accepted: {error.verify_message}",
        f"replace it there, or correct {variable('kafka', ca_setting)}",
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
