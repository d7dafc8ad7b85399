"""`imagegate forget`: delete everything that one principal owns."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from app.changes.forget import Forgotten, forget
from app.cli.known import known_log
from app.cli.options import add_log, load
from app.imaging.names import is_owner
from app.records.signature import Signatures
from app.telemetry import logs

if TYPE_CHECKING:
    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "forget",
        help="delete everything that one principal owns",
        description="Delete all images of one owner, for ever. Stop the gateway of an embedded log"
        " first. On Kafka gateways may run; the bytes stay in the topics, as noise where images are"
        " erased by their keys.",
    )
    add_log(command)
    command.add_argument(
        "--owner",
        type=_owner,
        required=True,
        metavar="NAME",
        help="as `owner` in an image's JSON: key:ID for an API key, ISSUER#SUBJECT for a token",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say how many images that would be"
    )
    command.set_defaults(run=_forget)


def _owner(text: str) -> str:
    if not is_owner(text):
        raise argparse.ArgumentTypeError(f"{text[:50]!r} can be no owner")
    return text


def _forget(options: argparse.Namespace) -> int:
    logs.configure("warning")
    settings = load(options)
    found = asyncio.run(_run(options, settings))
    size = f"{found.images:,} images of {options.owner}, {found.bytes / 1e6:,.1f} MB"
    if options.dry_run:
        print(f"{size}, would be deleted.")  # noqa: T201
        return 0
    if not found.images:
        print(f"0 images of {options.owner}: nothing was deleted. {_NAMES}")  # noqa: T201
        return 0
    print(f"{size}, are deleted for ever. {_remains(settings, found)}")  # noqa: T201
    return 0


_NAMES = (
    "The name is that of `owner` in an image's JSON: key:ID for an API key, ISSUER#SUBJECT for a"
    " token."
)


def _remains(settings: Settings, found: Forgotten) -> str:
    if not settings.kafka.bootstrap_servers:
        return "Their bytes and file names are erased; backups still have them."
    erased = f"{found.erased:,} are noise once Kafka has removed their keys, in a day at the most."
    stay = "records stay in the topics, for ever unless these have a retention."
    if not found.erased:
        return f"Their {stay}"
    return erased if found.erased == found.images else f"{erased} Of the others, the {stay}"


async def _run(options: argparse.Namespace, settings: Settings) -> Forgotten:
    signatures = Signatures(settings.kafka.keys)
    async with known_log(settings) as (log, view):
        return await forget(log, view.catalog, signatures, options.owner, keep=options.dry_run)
