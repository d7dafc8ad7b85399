"""`imagegate`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import __version__, doctor, findings, settings, telemetry
from app.dead_letters import DeadLetters
from app.errors import ConfigurationError, GatewayError
from app.main import build_log, create_app, examine_topics
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
    _add_log(serving)
    serving.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine without authentication"
    )
    serving.set_defaults(run=_serve)
    doctoring = commands.add_parser(
        "doctor", help="say what is right and wrong with the deployment; 1 if anything is wrong"
    )
    _add_log(doctoring)
    doctoring.add_argument("--json", action="store_true", help="print JSON instead of a table")
    doctoring.set_defaults(run=_doctor)
    topics = commands.add_parser(
        "topics", help="create the missing topics, and say what does not fit; 1 if anything"
    )
    _add_log(topics)
    topics.add_argument("--check", action="store_true", help="create nothing")
    topics.add_argument("--json", action="store_true", help="print JSON instead of a table")
    topics.set_defaults(run=_topics)
    feed = commands.add_parser("feed", help="mend the background consumer's way")
    skip = feed.add_subparsers(required=True, metavar="command").add_parser(
        "skip", help="let every replica pass over what is damaged in image-events"
    )
    _add_log(skip)
    skip.add_argument(
        "--offset", type=int, required=True, help="where the damage begins; readiness says it"
    )
    skip.set_defaults(run=_feed_skip)
    document = commands.add_parser("openapi", help="print the OpenAPI document")
    document.set_defaults(run=_openapi)
    return parser


def _add_log(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", type=Path, help="folder of the log and catalog (./data)")
    command.add_argument(
        "--kafka", metavar="HOST:PORT", help="brokers; without, the log is embedded"
    )


def _load(options: argparse.Namespace, **overrides: Any) -> settings.Settings:
    overrides["data_dir"] = options.data_dir
    overrides["kafka"] = _given(bootstrap_servers=options.kafka)
    return settings.load(**_given(**overrides))


def _serve(options: argparse.Namespace) -> int:
    http = _given(host=options.host, port=options.port)
    return serve(_load(options, http=http), insecure=options.insecure)


def _doctor(options: argparse.Namespace) -> int:
    telemetry.configure("error")
    loaded = _load(options)
    embedded = not loaded.kafka.bootstrap_servers
    return _report(
        options, asyncio.run(doctor.examine(build_log(loaded), loaded.data_dir, embedded=embedded))
    )


def _topics(options: argparse.Namespace) -> int:
    telemetry.configure("error")
    kafka = _load(options).kafka
    return _report(options, asyncio.run(examine_topics(kafka, create=not options.check)))


def _report(options: argparse.Namespace, found: list[findings.Finding]) -> int:
    print(findings.as_json(found) if options.json else findings.as_table(found))  # noqa: T201
    return int(findings.is_wrong(found))


def _feed_skip(options: argparse.Namespace) -> int:
    telemetry.configure("error")
    next_offset = asyncio.run(_skip(_load(options), options.offset))
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
