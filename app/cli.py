"""`imagegate`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import __version__, settings
from app.dead_letters import DeadLetters
from app.errors import ConfigurationError, GatewayError
from app.main import build_log, create_app
from app.server import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

# The shell's convention for a command that was used in a wrong way.
_USAGE_STATUS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except GatewayError as error:
        print(f"imagegate: {error.detail}", file=sys.stderr)  # noqa: T201
        return _USAGE_STATUS if isinstance(error, ConfigurationError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imagegate",
        description="Images in over HTTP, stored in Apache Kafka, streamed back out.",
        epilog="Settings come from the environment too: see docs/configuration.md.",
    )
    parser.add_argument("--version", action="version", version=f"imagegate {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    serving = commands.add_parser("serve", help="run the gateway")
    serving.add_argument("--host", help="address to listen on (127.0.0.1)")
    serving.add_argument("--port", type=int, help="port to listen on (8080); 0 takes a free one")
    serving.add_argument("--data-dir", type=Path, help="folder of the log and catalog (./data)")
    serving.add_argument(
        "--kafka", metavar="HOST:PORT", help="brokers; without, the log is embedded"
    )
    serving.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine without authentication"
    )
    serving.set_defaults(run=_serve)
    feed = commands.add_parser("feed", help="mend the background consumer's way")
    skip = feed.add_subparsers(required=True, metavar="command").add_parser(
        "skip", help="let every replica pass over what is damaged in image-events"
    )
    skip.add_argument(
        "--offset", type=int, required=True, help="where the damage begins; readiness says it"
    )
    skip.set_defaults(run=_feed_skip)
    document = commands.add_parser("openapi", help="print the OpenAPI document")
    document.set_defaults(run=_openapi)
    return parser


def _serve(options: argparse.Namespace) -> int:
    overrides: dict[str, Any] = {
        "data_dir": options.data_dir,
        "http": _given(host=options.host, port=options.port),
        "kafka": _given(bootstrap_servers=options.kafka),
    }
    return serve(settings.load(**_given(**overrides)), insecure=options.insecure)


def _feed_skip(options: argparse.Namespace) -> int:
    next_offset = asyncio.run(_skip(settings.load(), options.offset))
    print(  # noqa: T201
        f"Every gateway goes on at offset {next_offset}. What lay from {options.offset} on is lost:"
        " images may be missing from the listings, and deleted ones may be back."
    )
    return 0


async def _skip(loaded: settings.Settings, offset: int) -> int:
    log = build_log(loaded)
    await log.start()
    try:
        return await DeadLetters(log).skip(offset)
    finally:
        await log.stop()


def _openapi(_options: argparse.Namespace) -> int:
    document = create_app(settings.Settings.model_construct()).openapi()
    print(json.dumps(document, indent=2, ensure_ascii=False))  # noqa: T201
    return 0


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {})}
