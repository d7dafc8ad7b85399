"""`imagegate feed skip`: let every replica skip a record of `image-events`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.cli.options import add_log, load
from app.feed.dead_letters import DeadLetters
from app.main import opened_log
from app.records.signature import Signatures
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse

    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    feed = commands.add_parser("feed", help="repair the feed of events")
    command = feed.add_subparsers(required=True, metavar="command").add_parser(
        "skip", help="let every replica skip a record of image-events, damaged or not"
    )
    add_log(command)
    command.add_argument(
        "--offset", type=int, required=True, help="where the feed stands, as readiness reports it"
    )
    command.set_defaults(run=_skip)


def _skip(options: argparse.Namespace) -> int:
    logs.configure("error")
    next_offset = asyncio.run(_skip_damage(load(options), options.offset))
    print(  # noqa: T201
        f"Every gateway that cannot get past offset {options.offset} continues at {next_offset}."
        " What it skips is lost there: images may be missing from listings, and deleted ones may be"
        " back."
    )
    return 0


async def _skip_damage(settings: Settings, offset: int) -> int:
    async with opened_log(settings) as log:
        return await DeadLetters(log, Signatures(settings.kafka.keys)).skip(offset)
