"""Settings of the log on Apache Kafka: its brokers and topics, connections and timeouts."""

from __future__ import annotations

import base64
import re

from pydantic import Field, SecretStr, field_validator

from app.log.kafka.security_settings import SecuritySettings
from app.section import Seconds

_SERVER = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_MAX_PORT = 65_535
_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
# As long as the output of SHA-256: a shorter key weakens HMAC (RFC 2104, section 3).
_MIN_KEY_BYTES = 32


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
            _keys(keys.get_secret_value())
        return keys

    @property
    def keys(self) -> dict[str, bytes]:
        """The keys that sign, by name, the one that is used first; empty if there are none."""
        return _keys(self.signing_keys.get_secret_value()) if self.signing_keys else {}


def _is_address(server: str) -> bool:
    if not _SERVER.fullmatch(server):
        return False
    host, _, port = server.rpartition(":")
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return 0 < int(port) <= _MAX_PORT


def _keys(given: str) -> dict[str, bytes]:
    """Return keys by their names; an error never quotes one."""
    keys: dict[str, bytes] = {}
    for entry in given.split(","):
        name, _, text = entry.strip().partition(":")
        if not _KEY_NAME.fullmatch(name) or name in keys:
            raise ValueError(
                "should be NAME:BASE64, separated by commas, with a name of its own for each key:"
                " 1 to 32 letters, digits, - or _"
            )
        keys[name] = _key(text)
    return keys


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) < _MIN_KEY_BYTES:
        raise ValueError(
            f"each key should be Base64 of {_MIN_KEY_BYTES} bytes or more; make one with: openssl"
            f" rand -base64 {_MIN_KEY_BYTES}"
        )
    return key
