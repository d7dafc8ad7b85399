"""Settings of the log on Apache Kafka: its brokers and topics, connections and timeouts."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from app import keyring
from app.log.kafka.security_settings import SecuritySettings
from app.section import Seconds

_SERVER = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_MAX_PORT = 65_535


class KafkaSettings(SecuritySettings):
    """The log on Apache Kafka. Without `bootstrap_servers` the log is embedded."""

    bootstrap_servers: str | None = Field(
        None, min_length=1, description="host:port of one or more brokers, separated by commas"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_addresses(cls, servers: str | None) -> str | None:
        for server in servers.split(",") if servers else ():
            if not _is_address(server.strip()):
                raise ValueError(f"{server[:100]!r} is not host:port")
        return servers

    topic_prefix: str = Field(
        "", pattern=r"^[a-zA-Z0-9._-]{0,200}$", description="prefix of the names of the topics"
    )
    partitions: int = Field(
        12, ge=1, le=65_536, description="partitions of the topic `images`, if it is created"
    )
    value_encoding: Literal["raw", "base64"] = Field(
        "raw",
        description="form of the images in new records: raw, or base64 for consumers that read text"
        " alone, a third larger; both are read",
    )
    erasure: Literal["retention", "shred"] = Field(
        "retention",
        description="how deleted images leave Kafka: with the topic's retention, or shred, which"
        " destroys the key of an encrypted image within about a day; for new images, and needs"
        " sealing keys; the embedded log erases by itself",
    )
    # Four: at 500 KB two took 281 MB/s, four 445, on one broker (bench/log.py).
    producers: int = Field(
        4, ge=1, le=16, description="connections that write images to each broker"
    )
    read_connections: int = Field(
        4, ge=1, le=64, description="connections that read images from each broker"
    )
    connect_timeout_seconds: Seconds = Field(
        30, description="how long to look for a broker at start before giving up"
    )
    append_timeout_seconds: Seconds = Field(
        15, description="how long a record may wait for its acknowledgement"
    )
    read_timeout_seconds: Seconds = Field(10, description="how long a read may take")
    signing_keys: SecretStr | None = Field(
        None,
        description="NAME:BASE64 of keys that sign heads and events, separated by commas; the first"
        " signs, any verifies",
    )

    @field_validator("signing_keys")
    @classmethod
    def _check_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            keyring.parse(keys.get_secret_value())
        return keys

    @property
    def keys(self) -> dict[str, bytes]:
        """The keys that sign, by name, the one that is used first; empty if there are none."""
        return keyring.parse(self.signing_keys.get_secret_value()) if self.signing_keys else {}


def _is_address(server: str) -> bool:
    if not _SERVER.fullmatch(server):
        return False
    host, _, port = server.rpartition(":")
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return 0 < int(port) <= _MAX_PORT
