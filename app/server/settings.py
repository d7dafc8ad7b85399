"""Settings of the server: its socket and its shutdown."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from app.section import Seconds, Section, split_list


class ServerSettings(Section):
    """Where the server listens, and how it stops."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0 picks a free one")
    tls_cert_file: Path | None = Field(
        None,
        description="PEM file of the gateway's certificate and its chain: it speaks HTTPS, and no"
        " HTTP. Read again when it changes",
    )
    tls_key_file: Path | None = Field(
        None, description="PEM file of its key, without a password; read again when it changes"
    )
    max_connections: int = Field(
        10_000,
        ge=8,
        le=1_000_000,
        description="connections at once; fewer where the process may not have as many descriptors",
    )
    client_connections: int = Field(
        2_000, ge=1, le=1_000_000, description="connections, streams among them, of one client"
    )
    slow_read_seconds: Seconds = Field(
        30, description="how long a client that reads too slowly is served"
    )
    min_read_rate: int = Field(
        1_000, ge=1, description="lowest rate at which an answer is read, in bytes a second"
    )
    proxies: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="addresses and networks of proxies, separated by commas, whose"
        " `X-Forwarded-For` and `X-Forwarded-Proto` are believed",
    )
    grace_seconds: int = Field(
        20,
        ge=1,
        le=600,
        description="how long requests may go on after SIGTERM before they are cut off",
    )

    @property
    def scheme(self) -> str:
        """The scheme of the gateway's own URLs."""
        return "https" if self.tls_cert_file else "http"

    @field_validator("proxies", mode="before")
    @classmethod
    def _split_proxies(cls, given: Any) -> Any:
        return tuple(map(_network, split_list(given))) if isinstance(given, str) else given


def _network(given: str) -> str:
    try:
        return str(ipaddress.ip_network(given))
    except ValueError as error:
        raise ValueError(
            f"{given[:50]!r} is neither an IP address nor a network such as 10.1.0.0/16"
        ) from error
