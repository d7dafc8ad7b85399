"""How to reach the log, as the environment of a gateway says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from app import settings
from app.errors import ConfigurationError
from app.reader.options import SEALING, KafkaOptions
from app.section import variable

if TYPE_CHECKING:
    from app.reader.options import LogOptions
    from app.settings import Settings


def log_options(given: Settings | None = None) -> tuple[str, LogOptions]:
    """Return the brokers, and the options that the environment sets, or the settings `given`.

    Raises:
        ConfigurationError: A setting is unknown or not allowed, or no broker is named.
    """
    loaded = given or settings.load()
    kafka = loaded.kafka
    if kafka.bootstrap_servers is None:
        raise ConfigurationError(
            f"A reader needs {variable('kafka', 'bootstrap_servers')}: the embedded log belongs to"
            " its gateway, whose streams serve readers."
        )
    options = kafka.model_dump(include=set(KafkaOptions.__annotations__), exclude_unset=True)
    for name, value in loaded.sealing.model_dump(exclude_unset=True).items():
        options[f"{SEALING}{name}"] = value
    return kafka.bootstrap_servers, cast("LogOptions", options)
