"""`imagegate topics`: create missing topics, and report those that do not fit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.cli.options import add_json, add_log, load, report
from app.main import examine_topics
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "topics", help="create missing topics and report misfits; exit status 1 if there are any"
    )
    add_log(command)
    command.add_argument("--check", action="store_true", help="only report, create nothing")
    add_json(command)
    command.set_defaults(run=_topics)


def _topics(options: argparse.Namespace) -> int:
    logs.configure("error")
    kafka = load(options).kafka
    return report(options, asyncio.run(examine_topics(kafka, create=not options.check)))
