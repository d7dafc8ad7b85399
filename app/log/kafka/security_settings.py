"""Settings of how the gateway shows Kafka who it is, and how it knows Kafka."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr

from app.section import SAFE_URL, Section


class Protocol(StrEnum):
    """Whether connections are encrypted (SSL), and whether a mechanism of SASL signs in."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def is_encrypted(self) -> bool:
        """Tell whether connections use TLS."""
        return self in (Protocol.SSL, Protocol.SASL_SSL)

    @property
    def signs_in(self) -> bool:
        """Tell whether connections use SASL."""
        return self in (Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL)


class Mechanism(StrEnum):
    """A mechanism of SASL. `AWS_MSK_IAM` is Amazon's use of OAUTHBEARER, and needs an extra."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"
    AWS_MSK_IAM = "AWS_MSK_IAM"

    @property
    def uses_password(self) -> bool:
        """Tell whether it needs a name and a password."""
        return self in (Mechanism.PLAIN, Mechanism.SCRAM_SHA_256, Mechanism.SCRAM_SHA_512)


class SecuritySettings(Section):
    """How connections to Kafka are secured; `security` checks that the settings fit together."""

    security_protocol: Protocol = Field(
        Protocol.PLAINTEXT,
        description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, as the brokers' listener",
    )
    tls_ca_file: Path | None = Field(
        None,
        description="PEM file of the certificate authorities that brokers are known by; without it"
        " those of the system. Like every file here, it is read again when it changes",
    )
    tls_cert_file: Path | None = Field(
        None, description="PEM file of the gateway's own certificate and its chain, for mutual TLS"
    )
    tls_key_file: Path | None = Field(
        None, description="PEM file of its key; without it the key is in the certificate's file"
    )
    sasl_mechanism: Mechanism | None = Field(
        None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM"
    )
    sasl_username: str | None = Field(
        None, min_length=1, description="name for PLAIN and SCRAM; an API key of Confluent Cloud"
    )
    sasl_password: SecretStr | None = Field(
        None, min_length=1, description="password for PLAIN and SCRAM"
    )
    sasl_password_file: Path | None = Field(
        None, description="file of the password, instead; a line end after it does not count"
    )
    oauth_token_url: str | None = Field(
        None,
        pattern=SAFE_URL,
        description="address for tokens of OAUTHBEARER (OIDC client credentials); https, unless it"
        " is on loopback",
    )
    oauth_client_id: str | None = Field(
        None, min_length=1, description="the gateway's id at the token server"
    )
    oauth_client_secret: SecretStr | None = Field(
        None, min_length=1, description="its secret there"
    )
    oauth_client_secret_file: Path | None = Field(None, description="file of the secret, instead")
    oauth_scope: str | None = Field(
        None, min_length=1, description="scopes to request, separated by spaces"
    )
    oauth_ca_file: Path | None = Field(
        None,
        description="PEM file of the certificate authorities that the token server is known by;"
        " without it those of the system",
    )
    aws_region: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,32}$", description="region of the cluster, for AWS_MSK_IAM"
    )
