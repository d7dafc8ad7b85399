"""`imagegate topics`: create missing topics, report those that do not fit, and begin to sign."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from app.changes.sign_from import begin_signing
from app.cli.options import add_json, add_log, load, report
from app.main import examine_topics, opened_log
from app.records.signature import Signatures
from app.telemetry import logs

if TYPE_CHECKING:
    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "topics", help="create missing topics and report misfits; status 1 if there are any"
    )
    add_log(command)
    command.add_argument("--check", action="store_true", help="only report, create nothing")
    add_json(command)
    command.set_defaults(run=_topics)
    sign_from = command.add_subparsers(metavar="[command]").add_parser(
        "sign-from",
        help="from now on, unsigned records are strangers'; every gateway must have the keys",
        # An option that is given before the name counts too.
        argument_default=argparse.SUPPRESS,
    )
    add_log(sign_from)
    sign_from.set_defaults(run=_sign_from)


def _topics(options: argparse.Namespace) -> int:
    logs.configure("error")
    kafka = load(options).kafka
    return report(options, asyncio.run(examine_topics(kafka, create=not options.check)))


def _sign_from(options: argparse.Namespace) -> int:
    logs.configure("error")
    offset = asyncio.run(_begin_signing(load(options)))
    print(  # noqa: T201
        f"Signing begins at offset {offset} of image-events, unless it had begun before. Unsigned"
        " records from here on are strangers' to every gateway that has the keys."
    )
    return 0


async def _begin_signing(settings: Settings) -> int:
    async with opened_log(settings) as log:
        return await begin_signing(log, Signatures(settings.kafka.keys))
