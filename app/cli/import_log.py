"""`imagegate import`: move everything from another log into the one that the settings name."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import progress
from app.cli.options import INTERRUPTED, add_log, load, summary
from app.errors import ConfigurationError
from app.main import is_shredding, opened_log, value_encoding
from app.reader.environment import kafka_options_in
from app.reader.folder import state_folder
from app.reader.source import ReadingHalf, opened_source
from app.reader.view import View
from app.records.signature import Signatures
from app.records.writer import ImageWriter
from app.sealing.configured import data_keys
from app.telemetry import logs
from app.transfer.copy import Copier
from app.transfer.transfer import Counts, Transfer

if TYPE_CHECKING:
    import argparse

    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "import",
        help="move everything from another log into this one; status 1 if any image could not be",
        description="Move everything from another log, FROM, into the one that --kafka, --data-dir"
        " or the settings name. Stop the gateway of an embedded log first. The status is 1 if any"
        " image could not be moved.",
        epilog="Old ids go on working. Run it again, and it goes on where it was ended.",
    )
    command.add_argument(
        "source", metavar="FROM", help="a data folder with an embedded log, or HOST:PORT of brokers"
    )
    add_log(command)
    command.add_argument(
        "--source-env",
        type=Path,
        metavar="FILE",
        help="a file with lines IMAGEGATE_KAFKA__…=…, which say how to reach and read the brokers"
        " of FROM",
    )
    command.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="a folder that keeps what is known of both logs, so that the next run reads less",
    )
    command.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    logs.configure("warning")
    settings = load(options)
    is_embedded = not settings.kafka.bootstrap_servers
    if is_embedded and Path(options.source).resolve() == settings.data_dir.resolve():
        raise ConfigurationError(
            f"{options.source} is the log to import into. Name the brokers to move it to: --kafka."
        )
    try:
        counts = asyncio.run(_run(options, settings))
    except KeyboardInterrupt:
        return INTERRUPTED
    print(_summary(counts))  # noqa: T201
    return int(counts.failed > 0)


async def _run(options: argparse.Namespace, settings: Settings) -> Counts:
    kafka = kafka_options_in(options.source_env) if options.source_env else {}
    async with AsyncExitStack() as parts:
        source_log, source_keys = await parts.enter_async_context(
            opened_source(options.source, kafka)
        )
        log = await parts.enter_async_context(opened_log(settings))
        folder = parts.enter_context(state_folder(options.state_dir))
        signatures, keys = Signatures(settings.kafka.keys), data_keys(settings.sealing)
        parts.push_async_callback(keys.stop)
        source = View(source_log, folder / "source", source_keys, keys)
        target = View(ReadingHalf(log), folder / "target", signatures, keys)
        for view in (source, target):
            await view.open()
            parts.push_async_callback(view.close)
        writer = ImageWriter(
            log, signatures, value_encoding(settings), keys, shreds=is_shredding(settings, keys)
        )
        show = parts.enter_context(progress.shown())
        transfer = Transfer(
            source_log,
            source,
            log,
            target,
            Copier(source, log, writer, target),
            signatures,
            on_facts=lambda done, all_facts, counts: show(done, all_facts, _said(counts)),
        )
        await transfer.run()
    return transfer.counts


def _said(counts: Counts) -> str:
    return f"{counts.moved:,} images, {counts.moved_bytes / 1e6:,.1f} MB"


def _summary(counts: Counts) -> str:
    return summary(
        f"{_said(counts)} moved",
        (counts.there, "were there already"),
        (counts.deleted, "deleted or expired ones stay gone"),
        (counts.failed, "could not be moved"),
    )
