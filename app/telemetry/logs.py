"""Logs: one line per event, readable on a terminal and JSON elsewhere.

Hides structlog's configuration. Libraries that log through `logging` come out in the same form.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog

# aiokafka formats whole payloads for its debug messages, and reports an absent broker 45 times a
# second; the log on Kafka logs what matters of that. The others would log each request for a token.
_QUIET = {
    "aiokafka": logging.CRITICAL,
    "botocore": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    # It warns of each request that is no HTTP, which has a line here, or that asks for WebSocket.
    "uvicorn.error": logging.ERROR,
}
# `app.api.problems` and `app.api.context` log exceptions of the application; uvicorn repeats them.
_REPEATED = "Exception in ASGI application"
# C0, DEL and C1, which a terminal obeys; marks that turn the direction of text or end a line; and
# halves of surrogate pairs, which cannot be written.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Texts of several lines: their line ends stay.
_MULTILINE = frozenset({"exception", "stack"})


def configure(level: str) -> None:
    """Send logs of `level` and above to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                escape_controls,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: not record.getMessage().startswith(_REPEATED)
    )
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)


def configure_library() -> None:
    """Send logs to `logging`, where a program that uses this as a library expects them.

    A program that has configured structlog, as the gateway has, keeps what it has.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    logging.getLogger("aiokafka").setLevel(_QUIET["aiokafka"])


def escape_controls(
    _logger: Any, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    r"""Write control characters as `\x1b`: what clients send must not command a terminal.

    In JSON as well, since what prints a field of it, such as `jq`, leaves C1 as it is.
    """
    return {
        key: "\n".join(map(_escaped, value.split("\n")))
        if key in _MULTILINE and isinstance(value, str)
        else _escaped(value)
        for key, value in event.items()
    }


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return _CONTROLS.sub(_escape, value)
        case dict():
            return {_escaped(key): _escaped(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_escaped(inner) for inner in value]
    return value


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
