"""Regular looks at the topics while the gateway runs.

Hides when: every minute, and soon after an append or a read that failed. Someone may change the
limits, policies or partitions of a topic under a running gateway, delete it, or let the brokers
refuse the gateway. That is the watch's `trouble`, and is logged when it begins and when it ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from app.background import BackgroundJob
from app.errors import ConfigurationError, LogUnavailableError
from app.log.kafka.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = structlog.get_logger(__name__)

# People make changes, and rarely; an append that fails asks for a look at once.
_PERIOD_SECONDS = 60.0
# Appends fail by the hundred while a broker is away.
_REST_SECONDS = 2.0
_TIMEOUT_SECONDS = 20.0


class Watch:
    """Calls `look` regularly between `start` and `stop`.

    Args:
        look: Raises a `ConfigurationError` for a misfit or a refusal; its other errors are about
            the connection, and reported elsewhere.

    Attributes:
        trouble: The misfit or the refusal, as a clause, or None.
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
        except RefusedError as error:
            self._say(error.detail.removesuffix("."), refused=True)
        except ConfigurationError as error:
            self._say(error.detail.removesuffix("."))
        except (KafkaError, LogUnavailableError, OSError, TimeoutError):
            self.ask()
        # Any other end of the watch would leave its last result standing for ever.
        except Exception:
            logger.exception("kafka_topics_check_failed")
        else:
            self._say(None)

    def _say(self, trouble: str | None, *, refused: bool = False) -> None:
        if trouble != self.trouble:
            if refused:
                logger.error("kafka_gateway_refused", reason=trouble)
            elif trouble:
                logger.error("kafka_topics_misfit", reason=trouble)
            else:
                logger.info("kafka_topics_fit")
        self.trouble = trouble
        if trouble:
            # The operator who corrects it should not have to wait.
            self.ask()
