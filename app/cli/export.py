"""`imagegate export`: write the images in Kafka into a folder, a file each."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import progress
from app.cli.options import INTERRUPTED, add_kafka, load_kafka, source, summary
from app.cli.times import FORM, moment
from app.reader.environment import log_options
from app.reader.export import STATE_NAME, Counts, Export, group_of_folder
from app.reader.files import ImageFiles, Layout
from app.reader.reader import ImageReader
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse

    from app.reader.image import Image
    from app.settings import Settings

# The shortest that brokers allow by default: an export that was killed goes on after this.
_SESSION_SECONDS = 6.0
_HINT = "Images of the embedded log are exported after `imagegate import` has moved them to Kafka."


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "export",
        help="write the images in Kafka into a folder; status 1 if any could not be read",
        description="Write the images in Kafka into a folder, a file each, with all that is known"
        " of it in ID.json. No gateway is needed. The status is 1 if any image could not be read.",
        epilog="It goes on where it was ended: run it again, with the same folder.",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder to write to"
    )
    add_kafka(command)
    command.add_argument(
        "--group", metavar="ID", help="the consumer group; without, one that belongs to the folder"
    )
    command.add_argument(
        "--follow", action="store_true", help="wait for more where the log ends, instead of ending"
    )
    command.add_argument(
        "--since", type=moment, metavar="TIME", help=f"only images stored then or later: {FORM}"
    )
    command.add_argument(
        "--until", type=moment, metavar="TIME", help="end before the first image stored then"
    )
    command.add_argument(
        "--layout",
        choices=[each.value for each in Layout],
        default=Layout.FLAT.value,
        help="all in one folder (flat), or in folders by day (date) or owner (owner)",
    )
    command.add_argument(
        "--source",
        type=source,
        metavar="SOURCE",
        help="only images from this camera or device, as their uploads said",
    )
    command.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    logs.configure("warning")
    settings = load_kafka(options, "to export from", hint=_HINT)
    try:
        counts = asyncio.run(_run(options, settings))
    except KeyboardInterrupt:
        return INTERRUPTED
    print(_summary(counts, options.out))  # noqa: T201
    return int(counts.failed > 0)


async def _run(options: argparse.Namespace, settings: Settings) -> Counts:
    state = options.out / STATE_NAME
    bootstrap_servers, log = log_options(settings)
    reader = ImageReader(
        bootstrap_servers=bootstrap_servers,
        group_id=options.group or group_of_folder(state, options.source),
        start=options.since or "earliest",
        source=options.source,
        follow=options.follow,
        state_dir=state / "log",
        session_timeout_seconds=_SESSION_SECONDS,
        **log,
    )
    files = ImageFiles(options.out, Layout(options.layout), state / "unfinished")
    with progress.shown() as show:
        async with reader as images:

            def on_image(image: Image, counts: Counts) -> None:
                show(image.sequence + 1, max(images.end or 0, image.sequence + 1), _said(counts))

            # Only now is the folder this process's own.
            files.clear()
            export = Export(
                images, files, since=options.since, until=options.until, on_image=on_image
            )
            await export.run()
    return export.counts


def _said(counts: Counts) -> str:
    return f"{counts.written:,} images, {counts.written_bytes / 1e6:,.1f} MB"


def _summary(counts: Counts, folder: Path) -> str:
    return summary(
        f"{_said(counts)} written to {folder}",
        (counts.there, "were there already"),
        (counts.gone, "were deleted meanwhile"),
        (counts.failed, "could not be read"),
    )
