"""`imagegate`: the command line."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from app import __version__
from app.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The commands, each with its module: only that of the one which is run is loaded, as the others
# would take 0.1 s more.
_COMMANDS = {
    "serve": "serve",
    "doctor": "doctor",
    "topics": "topics",
    "feed": "feed",
    "keys": "keys",
    "export": "export",
    "import": "import_log",
    "watch": "watch",
    "sweep": "sweep",
    "forget": "forget",
    "openapi": "openapi",
}
# The shell's convention for wrong usage of a command.
_USAGE_STATUS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser, commands = _parsers(arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        # So that the usage shown is that of the command.
        commands[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return int(options.run(options))
    except GatewayError as error:
        print(f"imagegate: {error.reason}", file=sys.stderr)  # noqa: T201
        return _USAGE_STATUS if isinstance(error, ConfigurationError) else 1


def _parsers(
    arguments: Sequence[str],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of the commands by name."""
    parser = argparse.ArgumentParser(
        prog="imagegate",
        description="Images in over HTTP, stored in Apache Kafka, streamed back out.",
        epilog="The environment sets the rest: see docs/configuration.md.",
    )
    parser.add_argument("--version", action="version", version=f"imagegate {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    named = [name for name in arguments[:1] if name in _COMMANDS]
    for name in named or _COMMANDS:
        import_module(f"app.cli.{_COMMANDS[name]}").add(commands)
    return parser, commands.choices
