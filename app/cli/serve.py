"""`imagegate serve`: run the gateway."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from app.cli.options import add_log, given, load
from app.main import create_app
from app.server.serve import serve
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse

    from app.settings import Settings


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser("serve", help="run the gateway")
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (8080); 0 picks a free one")
    add_log(command)
    command.add_argument(
        "--insecure",
        action="store_true",
        help="allow an address that other machines can reach, without authentication",
    )
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    settings = load(options, http=given(host=options.host, port=options.port))
    logs.configure(settings.log_level)
    # The images of the embedded log are no other user's, in whichever folder they are.
    os.umask(0o077)
    app = create_app(settings, insecure=options.insecure)
    allowed = options.insecure or app.state.access.is_configured
    return serve(app, settings.http, _destination(settings), exposable=allowed)


def _destination(settings: Settings) -> str:
    if settings.kafka.bootstrap_servers:
        prefix = settings.kafka.topic_prefix
        return (
            f"the topics {prefix}images and {prefix}image-events"
            f" on {settings.kafka.bootstrap_servers}"
        )
    return f"the embedded log in {settings.data_dir.absolute()}"
