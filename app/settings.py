"""What can be set, by environment variables called `IMAGEGATE_…`.

Hides where settings come from. Each part of the application gets its own section, never the
whole. Sections nest by two underscores: `IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS`. A name that is not
known is an error that suggests the nearest one. `docs/configuration.md` lists them all.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "IMAGEGATE_"
_DELIMITER = "__"
_SERVER = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_MAX_PORT = 65_535
# A container may be allowed fewer CPUs than the machine has; Linux tells.
_HAS_AFFINITY = hasattr(os, "sched_getaffinity")

_PROFILES = ("original", "archive", "lossless", "balanced", "small")
_METADATA = ("strip", "strip-gps", "keep")

Seconds = Annotated[float, Field(gt=0, le=600)]


class Section(BaseModel):
    """A group of settings that belong to one part of the application."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpSettings(Section):
    """The HTTP server."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    grace_seconds: int = Field(
        20,
        ge=1,
        le=600,
        description="how long requests may go on after SIGTERM before they are cut off",
    )
    slow_body_seconds: Seconds = Field(
        20, description="how long an upload may take beyond what its minimum rate allows"
    )
    min_body_rate: int = Field(
        20_000, ge=1, description="the slowest rate of an upload, in bytes a second"
    )


class UploadSettings(Section):
    """What one upload, and all of them together, may take."""

    max_bytes: int = Field(
        20_000_000, ge=1_000, le=200_000_000, description="the largest upload, in bytes"
    )
    budget_bytes: int = Field(
        512_000_000,
        ge=1_000_000,
        description="memory for all uploads at once; beyond it they wait, then get 503",
    )
    patience_seconds: float = Field(
        2, ge=0, le=60, description="how long an upload waits for a part of the budget"
    )


class ImagingSettings(Section):
    """Decoding and encoding, and what an image may ask of it."""

    profile: str = Field(
        "balanced",
        description="how images are compressed whose upload names no profile",
    )
    profiles: str = Field(
        ",".join(_PROFILES),
        description="what an upload may name, separated by commas",
    )
    metadata: str = Field(
        ",".join(_METADATA),
        description="what may become of metadata, by an upload's wish; the first is the default",
    )
    avif: bool = Field(
        default=False,
        description="whether the profile small makes AVIF: a third smaller, at ten times the time",
    )
    measure_quality: bool = Field(
        default=False,
        description="whether a receipt says how near the image comes (SSIMULACRA2; extra quality)",
    )

    @field_validator("profiles", "metadata")
    @classmethod
    def _check_names(cls, names: str, info: ValidationInfo) -> str:
        known = _PROFILES if info.field_name == "profiles" else _METADATA
        for name in names.split(","):
            if name not in known:
                raise ValueError(f"{name[:50]!r} is none of {', '.join(known)}")
        return names

    @model_validator(mode="after")
    def _check_default(self) -> Self:
        if self.profile not in self.profiles.split(","):
            raise ValueError(
                f"the profile {self.profile[:50]!r}, for uploads that name none, is not among the"
                f" profiles {self.profiles}: set IMAGEGATE_IMAGING__PROFILE too"
            )
        return self

    workers: int = Field(
        default_factory=lambda: (
            len(os.sched_getaffinity(0)) if _HAS_AFFINITY else os.cpu_count() or 1
        ),
        ge=1,
        le=256,
        description="codec processes; by default one a CPU",
    )
    max_pixels: int = Field(
        50_000_000, ge=1, le=500_000_000, description="the most pixels, summed over all frames"
    )
    max_side: int = Field(
        16_383, ge=1, le=65_535, description="the longest width or height, in pixels"
    )
    max_frames: int = Field(256, ge=1, le=10_000, description="the most frames of an animation")
    max_metadata_bytes: int = Field(
        10_000_000,
        ge=10_000,
        le=200_000_000,
        description="the most that is no picture, in bytes, the colour profile included",
    )
    deadline_seconds: Seconds = Field(
        10, description="how long a worker may take for one image before it is killed"
    )
    queue_seconds: Seconds = Field(
        10, description="how long an image waits for a worker before its upload gets 503"
    )
    memory_bytes: int = Field(
        2_000_000_000,
        ge=100_000_000,
        le=2**40,
        description="address space of one worker (RLIMIT_AS)",
    )


class DeliverySettings(Section):
    """The way out."""

    cache_bytes: int = Field(
        64_000_000, ge=0, description="memory for records that were read lately; 0 for no cache"
    )
    unpack_bytes: int = Field(
        256_000_000,
        ge=1_000_000,
        description="memory for unpacking images of the profile archive, for all downloads at once",
    )


class KafkaSettings(Section):
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
        "", pattern=r"^[a-zA-Z0-9._-]{0,200}$", description="put before the names of the topics"
    )
    partitions: int = Field(
        12, ge=1, le=65_536, description="partitions of the topic `images`, should it be created"
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


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid", frozen=True
    )

    data_dir: Path = Field(
        Path("data"), description="folder of the embedded log and of the catalog"
    )

    @field_validator("data_dir", mode="before")
    @classmethod
    def _check_named(cls, folder: str | Path) -> str | Path:
        if not str(folder):
            raise ValueError("an empty name is no folder")
        return folder

    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="what is logged at least"
    )
    http: HttpSettings = HttpSettings()
    upload: UploadSettings = UploadSettings()
    imaging: ImagingSettings = ImagingSettings()
    delivery: DeliverySettings = DeliverySettings()
    kafka: KafkaSettings = KafkaSettings()


def load(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: Sections as dictionaries, or values; each wins over the environment.

    Raises:
        ConfigurationError: A name is unknown or a value does not fit.
    """
    _refuse_unknown_names()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = [
            f"{variable(*map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigurationError("; ".join(problems)) from error


def variable(*path: str) -> str:
    """Return the name of the environment variable for a setting."""
    return PREFIX + _DELIMITER.join(path).upper()


def names() -> Iterator[tuple[str, Any]]:
    """Yield the environment variable and the pydantic field of every setting."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, Section):
            for inner, inner_field in type(field.default).model_fields.items():
                yield variable(name, inner), inner_field
        else:
            yield variable(name), field


def is_loopback(host: str) -> bool:
    """Tell whether a server on this address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(server: str) -> bool:
    if not _SERVER.fullmatch(server):
        return False
    host, _, port = server.rpartition(":")
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return 0 < int(port) <= _MAX_PORT


def _refuse_unknown_names() -> None:
    known = {name for name, _ in names()}
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0)
            raise ConfigurationError(f"{name} is not a setting. Did you mean {near[0]}?")
