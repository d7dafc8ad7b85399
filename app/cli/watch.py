"""`imagegate watch`: print the events in the log as they come."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from app.cli.options import INTERRUPTED, add_kafka, load_kafka, source
from app.cli.times import FORM, moment_or_sequence
from app.events.event import ImageDeleted, ImageStored, SigningBegan
from app.events.move import write_time
from app.events.rewrapped import ImageRewrapped
from app.reader.watch import opened_watch
from app.telemetry import logs

if TYPE_CHECKING:
    from app.events.sequenced import SequencedEvent
    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "watch",
        help="print the events in Kafka as they come, a line each",
        description="Print the events in Kafka as they come, a line each, until it is interrupted."
        " No gateway is needed.",
    )
    add_kafka(command)
    command.add_argument("--json", action="store_true", help="print each event as JSON")
    command.add_argument(
        "--since",
        type=moment_or_sequence,
        metavar="TIME",
        help=f"first print those since then: {FORM}; or a sequence number",
    )
    command.add_argument(
        "--no-follow", action="store_true", help="end where the log ends, instead of waiting"
    )
    command.add_argument(
        "--type",
        type=_event_type,
        action="append",
        help="only events of this type: image.stored, image.moved, image.deleted; repeatable",
    )
    command.add_argument("--owner", help="only events of images of this owner")
    command.add_argument(
        "--source",
        type=source,
        metavar="SOURCE",
        help="only events of images from this camera or device, as their uploads said",
    )
    command.add_argument(
        "--content-type",
        type=_media_types,
        metavar="TYPE",
        help="only images of this type that were stored or moved here: image/png, or 'image/*'",
    )
    command.set_defaults(run=_watch)


def _event_type(text: str) -> str:
    # A later release may have others.
    if not text.startswith("image."):
        raise argparse.ArgumentTypeError(f"{text[:50]!r} is no type such as image.stored")
    return text


def _media_types(text: str) -> str:
    if "/" not in text:
        raise argparse.ArgumentTypeError(f"{text[:50]!r} is no type such as image/png or image/*")
    return text


def _watch(options: argparse.Namespace) -> int:
    logs.configure("warning")
    hint = "A gateway on the embedded log has its events at /streams/images."
    settings = load_kafka(options, "to watch", hint=hint)
    try:
        asyncio.run(_print(options, settings))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read the lines has enough. Nothing is left to be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _print(options: argparse.Namespace, settings: Settings) -> None:
    form = _as_json if options.json else _as_line
    has_keys = bool(settings.kafka.keys)
    async with opened_watch(settings.kafka, settings.sealing) as watch:
        events = watch.events(options.since, follow=not options.no_follow)
        async with aclosing(events):
            async for each in events:
                said = _said(each, has_keys=has_keys)
                if _is_wanted(options, said):
                    print(form(said), flush=True)  # noqa: T201


def _said(sequenced: SequencedEvent, *, has_keys: bool) -> dict[str, Any]:
    """Return what an event says, and what is known of it."""
    said: dict[str, Any] = {
        "sequence": sequenced.sequence,
        "time": write_time(sequenced.timestamp_ms),
    }
    match sequenced.event:
        case ImageStored() as event:
            said |= {"type": event.type, "id": event.image_id}
            said |= event.info.as_dict() | {"metadata_removed": list(event.info.metadata_removed)}
            if event.move is not None:
                said |= {
                    "former_ids": event.move.former_ids,
                    "created_at": write_time(event.move.created_at_ms),
                }
        case ImageDeleted() as event:
            said |= {"type": "image.deleted", "id": event.image_id, "owner": event.owner}
            said |= {"source": event.source}
        case ImageRewrapped() as event:
            said |= {"type": "image.rewrapped", "id": event.image_id}
        case SigningBegan():
            said |= {"type": "image.signing-began"}
        case event:
            said |= {"type": event.type, "id": event.image_id}
    return said | ({"signed": sequenced.signed} if has_keys else {})


def _is_wanted(options: argparse.Namespace, said: dict[str, Any]) -> bool:
    return (
        (not options.type or said["type"] in options.type)
        and (options.owner is None or said.get("owner") == options.owner)
        and (options.source is None or said.get("source") == options.source)
        and (
            options.content_type is None
            or fnmatchcase(said.get("content_type", ""), options.content_type)
        )
    )


def _as_json(said: dict[str, Any]) -> str:
    return json.dumps(said)


def _as_line(said: dict[str, Any]) -> str:
    parts = [f"{said['time']}  {said['sequence']:>8}  {said['type']:<14}", said.get("id", "")]
    if "width" in said:
        parts += [
            said["content_type"],
            f"{said['width']}x{said['height']}",
            f"{said['content_length']} bytes",
            json.dumps(said["filename"], ensure_ascii=False) if said["filename"] else "",
        ]
    parts.append(f"of {said['owner']}" if said.get("owner") else "")
    parts.append(f"from {said['source']}" if said.get("source") else "")
    parts.append("unsigned" if said.get("signed") is False else "")
    return "  ".join(filter(None, parts))
