"""Options that commands share, and the settings that they change."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import settings
from app.errors import ConfigurationError
from app.imaging.names import source_of
from app.log import findings
from app.section import variable

if TYPE_CHECKING:
    from app.settings import Settings


# The exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT.
INTERRUPTED = 130


def add_log(command: argparse.ArgumentParser) -> None:
    """Add the options that name the log."""
    add_data_dir(command)
    command.add_argument(
        "--kafka", metavar="HOST:PORT", help="one or more brokers; without them the log is embedded"
    )


def add_data_dir(command: argparse.ArgumentParser) -> None:
    """Add the option that names the data folder."""
    command.add_argument(
        "--data-dir", type=Path, help="folder of the log, the catalog and the keys (./data)"
    )


def load(options: argparse.Namespace, **sections: dict[str, Any]) -> Settings:
    """Load the settings; options that were given win over the environment.

    Raises:
        ConfigurationError: A setting is unknown, or its value is not allowed.
    """
    kafka = given(bootstrap_servers=options.kafka)
    return settings.load(**given(data_dir=options.data_dir, kafka=kafka, **sections))


def add_kafka(command: argparse.ArgumentParser) -> None:
    """Add the option that names the brokers, for a command that only reads Kafka."""
    command.add_argument("--kafka", metavar="HOST:PORT", help="one or more brokers")
    command.set_defaults(data_dir=None)


def load_kafka(options: argparse.Namespace, purpose: str, *, hint: str = "") -> Settings:
    """Load the settings of a command that only reads Kafka; raises as `load`.

    Args:
        options: The options of the command.
        purpose: What Kafka is needed for: "to watch".
        hint: A further sentence for a user who has none.
    """
    loaded = load(options)
    if not loaded.kafka.bootstrap_servers:
        raise ConfigurationError(
            f"There is no Kafka {purpose}: set {variable('kafka', 'bootstrap_servers')} or use"
            f" --kafka.{hint and f' {hint}'}"
        )
    return loaded


def source(text: str) -> str:
    """Return the source that an argument names, as images are stored with it."""
    try:
        return source_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:50]!r} {error}") from error


def given(**values: Any) -> dict[str, Any]:
    """Return the values that were given: neither None nor an empty section."""
    return {name: value for name, value in values.items() if value not in (None, {})}


def summary(done: str, *others: tuple[int, str]) -> str:
    """Return a sentence on what was done, and on how many others there are, where there are any."""
    return done + "".join(f"; {count:,} {what}" for count, what in others if count) + "."


def add_json(command: argparse.ArgumentParser) -> None:
    """Add the option of a command that reports findings."""
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def report(options: argparse.Namespace, found: list[findings.Finding]) -> int:
    """Print findings; return the exit status, 1 if anything is wrong."""
    print(findings.as_json(found) if options.json else findings.as_table(found))  # noqa: T201
    return int(findings.is_wrong(found))
