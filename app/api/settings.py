"""Settings of idle connections, and of the web sites that may use the gateway."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from app.api import authority
from app.section import Seconds, Section, split_list


class ConnectionSettings(Section):
    """How long a connection may be silent, and how long a refused upload is read."""

    # The API promises a comment every 15 seconds; common proxies end an idle connection after 60.
    ping_seconds: float = Field(
        15, gt=0, le=15, description="longest silence of an event stream before it sends a comment"
    )
    # As nginx's lingering_time. Many clients send all of a body before they read: 20 MB take 16 s
    # at 10 Mbit/s. Five seconds of silence end it earlier.
    linger_seconds: Seconds = Field(
        30,
        description="how long a refused upload is still read, so that its client sees the answer",
    )


class Embedding(StrEnum):
    """The pages that may embed images and streams: values of Cross-Origin-Resource-Policy."""

    SAME_ORIGIN = "same-origin"
    CROSS_ORIGIN = "cross-origin"


class SiteSettings(Section):
    """The rights of pages in a browser: names, origins, embedding."""

    hosts: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="host names that requests may be for, separated by commas; `*.` before a name"
        " stands for all below it. Empty: localhost and the names below it while listening on"
        " loopback, else any",
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="origins whose pages may upload, read and delete, separated by commas, such as"
        " `https://app.example`",
    )
    embedding: Embedding = Field(
        Embedding.SAME_ORIGIN,
        description="pages that may show images and streams: `same-origin` or `cross-origin`",
    )

    @field_validator("hosts", mode="before")
    @classmethod
    def _split_hosts(cls, given: Any) -> Any:
        return tuple(map(_host, split_list(given))) if isinstance(given, str) else given

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, given: Any) -> Any:
        return tuple(map(_origin, split_list(given))) if isinstance(given, str) else given


def _host(given: str) -> str:
    below = "*." if given.startswith("*.") else ""
    parsed = authority.parse(given.removeprefix(below))
    if parsed is None or parsed.port is not None or parsed.is_address:
        raise ValueError(
            f"{given[:50]!r} is not a host name: give names without scheme and port, such as"
            " images.example or *.images.example. IP addresses are always allowed"
        )
    return below + parsed.host


def _origin(given: str) -> str:
    parsed = authority.origin(given)
    if parsed is None:
        raise ValueError(
            f"{given[:50]!r} is not an origin: give scheme, host and port alone, such as"
            " https://app.example or http://localhost:3000. There is no `*`"
        )
    return parsed
