"""Logs: one line per event, readable on a terminal and JSON elsewhere.

Hides structlog's configuration. Libraries that log through `logging` come out in the same form.
"""

from __future__ import annotations

import logging
import sys

import structlog

# aiokafka formats whole payloads for its debug messages, and reports an absent broker 45 times a
# second; the log on Kafka logs what matters of that.
_QUIET = {"aiokafka": logging.CRITICAL, "uvicorn.error": logging.WARNING}
# `app.api.problems` and `app.api.context` log exceptions of the application; uvicorn repeats them.
_REPEATED = "Exception in ASGI application"


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
        lambda record: not record.getMessage().startswith(_REPEATED)
    )
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
