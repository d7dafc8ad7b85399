"""How to reach a log, as the environment of a gateway says it, or a file of such variables."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, cast

from dotenv.parser import parse_stream

from app import given_file, settings
from app.errors import ConfigurationError
from app.reader.options import SEALING, KafkaOptions
from app.section import variable

if TYPE_CHECKING:
    from pathlib import Path

    from app.reader.options import LogOptions
    from app.settings import Settings

_VARIABLE = re.compile(r"IMAGEGATE_[A-Z0-9_]+")
# Some twenty variables, with a list of brokers.
_MAX_FILE_BYTES = 65_536


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


def kafka_options_in(path: Path) -> KafkaOptions:
    """Return the options that the variables in a file set: how to reach and read a log.

    Raises:
        ConfigurationError: The file cannot be read, or names something else.
    """
    try:
        text = given_file.read(path, _MAX_FILE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    if len(text) > _MAX_FILE_BYTES:
        raise ConfigurationError(f"{path} is over {_MAX_FILE_BYTES:,} bytes.")
    # As it is: `$` is a sign that passwords have.
    bindings = [each for each in parse_stream(StringIO(text)) if each.key or each.error]
    for each in bindings:
        if each.error or each.value is None or not _VARIABLE.fullmatch(each.key or ""):
            # Without the line, which may be a password, or a part of one.
            raise ConfigurationError(
                f"{path}: line {each.original.line} is not {variable('kafka', '…')}=…."
            )
    named = {each.key: each.value for each in bindings if each.key}
    known = {variable("kafka", each): each for each in KafkaOptions.__annotations__}
    if unknown := sorted(named.keys() - known.keys()):
        raise ConfigurationError(
            f"{path} names {', '.join(unknown)}; only how to reach and read Kafka is of use there:"
            f" {', '.join(sorted(known))}."
        )
    options = {known[name]: value for name, value in named.items()}
    return cast("KafkaOptions", options)
