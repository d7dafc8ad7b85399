"""`imagegate sweep`: delete the images that have expired, and the keys that no image needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.changes.sweep import Sweeper
from app.cli.known import known_log
from app.cli.options import add_log, load
from app.records.signature import Signatures
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse

    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "sweep",
        help="delete the images that have expired, as running gateways do every minute",
        description="Delete, once, the images that have expired, and erase the keys in image-keys"
        " that no image needs: those of deletions that were cut short, and those that no event"
        " names a day after. Running gateways do so every minute; this is for when none runs. Stop"
        " the gateway of an embedded log first.",
    )
    add_log(command)
    command.set_defaults(run=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    logs.configure("warning")
    images, keys = asyncio.run(_run(load(options)))
    erased = f" {keys:,} keys erased." if keys else ""
    print(f"{images:,} expired images deleted.{erased}")  # noqa: T201
    return 0


async def _run(settings: Settings) -> tuple[int, int]:
    async with known_log(settings) as (log, view):
        signatures = Signatures(settings.kafka.keys)
        sweeper = Sweeper(log, view.catalog, view.feed, signatures)
        return await sweeper.sweep(), await sweeper.sweep_keys()
