"""`imagegate feed skip`: let every replica skip damaged records of `image-events`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.cli.options import add_log, load
from app.feed.dead_letters import DeadLetters
from app.main import build_log
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse

    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    feed = commands.add_parser("feed", help="repair the feed of events")
    command = feed.add_subparsers(required=True, metavar="command").add_parser(
        "skip", help="let every replica skip the damaged records of image-events"
    )
    add_log(command)
    command.add_argument(
        "--offset", type=int, required=True, help="where the damage begins, as readiness reports it"
    )
    command.set_defaults(run=_skip)


def _skip(options: argparse.Namespace) -> int:
    logs.configure("error")
    next_offset = asyncio.run(_skip_damage(load(options), options.offset))
    print(  # noqa: T201
        f"Every gateway continues at offset {next_offset}. The events from {options.offset} on are"
        " lost: images may be missing from listings, and deleted ones may be back."
    )
    return 0


async def _skip_damage(settings: Settings, offset: int) -> int:
    log = build_log(settings)
    await log.start()
    try:
        return await DeadLetters(log).skip(offset)
    finally:
        await log.stop()
