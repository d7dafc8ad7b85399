"""`imagegate openapi`: print the OpenAPI document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app.main import create_app
from app.settings import Settings

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    commands.add_parser("openapi", help="print the OpenAPI document").set_defaults(run=_openapi)


def _openapi(_options: argparse.Namespace) -> int:
    document = create_app(Settings.model_construct()).openapi()
    print(json.dumps(document, indent=2, ensure_ascii=False))  # noqa: T201
    return 0
