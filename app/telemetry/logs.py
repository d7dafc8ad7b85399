"""Logs: one line per event, readable on a terminal and JSON elsewhere.

Hides structlog's configuration. Libraries that log through `logging` come out in the same form.
"""

from __future__ import annotations

import logging
import sys

import structlog

# aiokafka formats whole payloads for its debug messages, and while a broker is away it says so 45
# times a second; what matters of that is logged by those who use it.
_QUIET = {"aiokafka": logging.CRITICAL, "uvicorn.error": logging.WARNING}


# What the application raises is logged by `problems` and `api.context`; uvicorn would add the same.
_SAID_TWICE = "Exception in ASGI application"


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
                renderer,
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: not record.getMessage().startswith(_SAID_TWICE)
    )
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
