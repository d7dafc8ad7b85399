"""The options of a reader: how it reaches Kafka, and where a new group begins.

Hides that they are the gateway's own settings of the sections KAFKA, those of writing left out, and
SEALING, whose names begin with `sealing_`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypedDict

from pydantic import ValidationError

from app.errors import ConfigurationError
from app.imaging.names import source_of
from app.log.kafka.settings import KafkaSettings
from app.sealing.settings import SealingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The first image that there is, the first one from now on, the first one stored at or after a time,
# or the first one at or after a sequence number.
Start = Literal["earliest", "latest"] | datetime | int

# A hundred members of one kind, and a name of theirs; `image-events` has one order, which each of
# them reads whole.
_MAX_SHARDS = 1_000
# The beginning of the names of the options of encryption.
SEALING = "sealing_"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KafkaOptions(TypedDict, total=False):
    """How a reader reaches the log and reads it: as the settings `IMAGEGATE_KAFKA__…` say it."""

    topic_prefix: str
    security_protocol: str
    tls_ca_file: str | Path
    tls_cert_file: str | Path
    tls_key_file: str | Path
    sasl_mechanism: str
    sasl_username: str
    sasl_password: str
    sasl_password_file: str | Path
    oauth_token_url: str
    oauth_client_id: str
    oauth_client_secret: str
    oauth_client_secret_file: str | Path
    oauth_scope: str
    oauth_ca_file: str | Path
    aws_region: str
    signing_keys: str
    connect_timeout_seconds: float
    read_timeout_seconds: float
    read_connections: int


class SealingOptions(TypedDict, total=False):
    """The keys that open encrypted images, as the settings `IMAGEGATE_SEALING__…` say it."""

    sealing_keys: str
    sealing_keys_file: str | Path
    sealing_vault_url: str
    sealing_vault_key: str
    sealing_vault_mount: str
    sealing_vault_namespace: str
    sealing_vault_token: str
    sealing_vault_token_file: str | Path
    sealing_vault_ca_file: str | Path
    sealing_vault_timeout_seconds: float
    sealing_vault_cache_seconds: float


class LogOptions(KafkaOptions, SealingOptions, total=False):
    """How a reader reaches the log, reads it, and opens what is encrypted."""


def kafka_settings(bootstrap_servers: str, options: Mapping[str, object]) -> KafkaSettings:
    """Return the settings that options make.

    Raises:
        ConfigurationError: An option is unknown, or its value is not allowed.
    """
    if unknown := sorted(options.keys() - KafkaOptions.__annotations__.keys()):
        raise ConfigurationError(f"A reader has no option {', '.join(unknown)}.")
    try:
        return KafkaSettings.model_validate({"bootstrap_servers": bootstrap_servers, **options})
    except ValidationError as error:
        raise _not_allowed(error) from error


def sealing_settings(options: Mapping[str, object]) -> tuple[SealingSettings, dict[str, object]]:
    """Return the settings that the options of encryption make, and the other options.

    Raises:
        ConfigurationError: A value is not allowed.
    """
    given = {name: options[name] for name in options if name in SealingOptions.__annotations__}
    others = {name: options[name] for name in options if name not in given}
    try:
        section = {name.removeprefix(SEALING): value for name, value in given.items()}
        return SealingSettings.model_validate(section), others
    except ValidationError as error:
        raise _not_allowed(error, SEALING) from error


def _not_allowed(error: ValidationError, prefix: str = "") -> ConfigurationError:
    # Without the value, which may be a password.
    problems = [
        f"{prefix}{'.'.join(map(str, problem['loc']))}:"
        f" {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False)
    ]
    return ConfigurationError("; ".join(problems))


def check_start(start: Start) -> None:
    """Check where a new group is to begin.

    Raises:
        ConfigurationError: That is no place.
    """
    match start:
        case "earliest" | "latest":
            return
        case datetime() if start.tzinfo is not None:
            return
        case datetime():
            raise ConfigurationError("start: a time needs a time zone.")
        case int() if start >= 0 and not isinstance(start, bool):
            return
    raise ConfigurationError(
        'start: "earliest", "latest", a datetime with a time zone, or a sequence number.'
    )


def check_source(source: str | None) -> str | None:
    """Return a source as uploads are stored with it.

    Raises:
        ConfigurationError: No image can have it.
    """
    try:
        return None if source is None else source_of(source)
    except ValueError as error:
        raise ConfigurationError(f"source: {error}.") from error


def first_ms(moment: datetime) -> int:
    """Return the first time of the log's clock, in Unix milliseconds, that is not before this."""
    return -((_EPOCH - moment) // timedelta(milliseconds=1))


def group_of(group_id: str, shard: tuple[int, int] | None) -> str:
    """Return the id of the consumer group: each shard has one of its own.

    Raises:
        ConfigurationError: There is no such group or shard.
    """
    if not group_id:
        raise ConfigurationError("group_id: should not be empty.")
    if shard is None:
        return group_id
    number, count = shard
    if not 0 <= number < count <= _MAX_SHARDS:
        raise ConfigurationError(f"shard: (k, n) with 0 <= k < n <= {_MAX_SHARDS}.")
    return f"{group_id}.{number}-of-{count}"
