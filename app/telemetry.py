"""Logs: one line an event, for people on a terminal and as JSON elsewhere. And the metrics.

Hides structlog's configuration. Libraries that log through `logging` come out in the same form.
Every metric is here, with what it means; they are the process's, so they live in a module.
"""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import Counter, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

# When a counter began is of no use to Prometheus, and doubles what it has to read.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
# Its names are those that the Prometheus library makes of these: `_total` is added to counters.
IMAGES_STORED = Counter("imagegate_images_stored", "Images that were acknowledged.")
PROBLEMS = Counter("imagegate_problems", "Answers that were problems, by their code.", ["code"])
DEAD_LETTERS = Counter(
    "imagegate_dead_letters", "Records of image-events that could not be processed."
)
DAMAGED_BATCHES = Counter(
    "imagegate_kafka_damaged_batches", "Batches that the leader gave with a wrong CRC.", ["topic"]
)
PRODUCERS_REPLACED = Counter(
    "imagegate_kafka_producers_replaced", "Producers that were given up and replaced.", ["lane"]
)
METRICS_TYPE = CONTENT_TYPE_LATEST

# aiokafka formats whole payloads for its debug messages, and while a broker is away it says so 45
# times a second; what matters of that is logged by those who use it.
_QUIET = {"aiokafka": logging.CRITICAL, "uvicorn.error": logging.WARNING}


# What the application raises is logged by `problems` and `api.context`; uvicorn would add the same.
_SAID_TWICE = "Exception in ASGI application"


def metrics() -> bytes:
    """Return every metric, the process's memory and CPU included, as Prometheus reads them."""
    return generate_latest()


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
