"""The topics, looked at again while the gateway runs.

Hides when: every minute, and soon after an append that failed. What was checked at start may be
changed under a running gateway: limits, policies, partitions, or a topic may be deleted. What no
longer fits is said by `trouble`, and logged when it begins and when it ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from app.background import BackgroundJob
from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = structlog.get_logger(__name__)

# Changes are made by people, and rarely; an append that fails asks at once.
_PERIOD_SECONDS = 60.0
# Appends fail by the hundred while a broker is away.
_REST_SECONDS = 2.0
_TIMEOUT_SECONDS = 20.0


class Watch:
    """Calls `look` again and again between `start` and `stop`.

    Args:
        look: Raises a `ConfigurationError` for what does not fit; other failures are those of the
            connection, which others report.
    """

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self.trouble: str | None = None
        self._look = look
        self._job = BackgroundJob(self._try, "topics-watch", _PERIOD_SECONDS, _REST_SECONDS)

    def start(self) -> None:
        """Start looking, in the background."""
        self._job.start()

    async def stop(self) -> None:
        """Stop looking."""
        await self._job.stop()

    def ask(self) -> None:
        """Look again soon: an append has failed."""
        self._job.ask()

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self._look()
        except ConfigurationError as error:
            self._say(error.detail.removesuffix("."))
        except (KafkaError, OSError, TimeoutError):
            self.ask()
        # Looking must go on: what it has said last would stand for ever.
        except Exception:
            logger.exception("kafka_topics_not_looked_at")
        else:
            self._say(None)

    def _say(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            if trouble:
                logger.error("kafka_topics_misfit", reason=trouble)
            else:
                logger.info("kafka_topics_fit")
        self.trouble = trouble
        if trouble:
            # Whoever mends it should not have to wait.
            self.ask()
