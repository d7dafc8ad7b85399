"""Connections to Kafka: the options of each aiokafka client, and when to try again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.errors import ConfigurationError
from app.log.kafka.handshake import find_refusal, refusal_at
from app.log.kafka.security import Security

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from app.log.kafka.refusals import RefusedError
    from app.log.kafka.settings import KafkaSettings

logger = structlog.get_logger(__name__)

# Between two attempts to connect: short beside the five seconds that a broker needs to come back,
# long enough not to fill its listen queue.
RECONNECT_SECONDS = 1.0
# A record expires in aiokafka before its deadline passes here, so that one leaderless partition
# fails by itself and a producer is replaced only when it acknowledges nothing at all.
_EXPIRY_RATIO = 2 / 3


class Connections:
    """How aiokafka's clients of one log connect.

    Raises:
        ConfigurationError: The settings of security do not fit together, or a file is unusable.

    """

    def __init__(self, settings: KafkaSettings) -> None:
        # Why the last attempt failed, if one has.
        self._last_error: Exception | None = None
        self._settings = settings
        self._security = Security(settings)

    def options(self, purpose: str, request_timeout_ms: int = 10_000) -> dict[str, Any]:
        """Return the constructor arguments of any client."""
        return {
            "bootstrap_servers": self._settings.bootstrap_servers,
            "client_id": f"imagegate-{purpose}",
            "request_timeout_ms": request_timeout_ms,
            **self._security.options(),
        }

    def producing(self, role: str, max_record_bytes: int) -> dict[str, Any]:
        """Return the constructor arguments of a producer."""
        expiry_ms = int(self._settings.append_timeout_seconds * 1000 * _EXPIRY_RATIO)
        return self.options(f"producer-{role}", expiry_ms) | {
            "acks": "all",
            "enable_idempotence": False,
            # Images are compressed already, and the codec would run on the event loop.
            "compression_type": None,
            "max_batch_size": max_record_bytes,
            "max_request_size": max_record_bytes,
        }

    @asynccontextmanager
    async def administration(self) -> AsyncGenerator[AIOKafkaAdminClient, None]:
        """Provide an admin client, once a broker answers; the caller bounds the time.

        Raises:
            RefusedError: The brokers refuse the gateway.
        """
        admin = AIOKafkaAdminClient(**self.options("admin"))
        try:
            await self.until_connected(admin.start)
            yield admin
        finally:
            await admin.close()

    async def until_connected(self, start: Callable[[], Awaitable[Any]]) -> None:
        """Call `start` until a broker answers; the caller bounds the time.

        Raises:
            RefusedError: The brokers refuse the gateway.
        """
        while True:
            try:
                await start()
            except (KafkaError, OSError) as error:
                await self.wait_after(error)
            else:
                self._last_error = None
                return

    async def wait_after(self, error: Exception) -> None:
        """Wait before the next attempt after one that failed.

        Raises:
            RefusedError: There need not be another: the brokers refuse the gateway.
        """
        is_first, self._last_error = self._last_error is None, error
        if (refusal := await find_refusal(self._settings, self._security)) is not None:
            raise refusal from error
        if is_first:
            brokers = self._settings.bootstrap_servers
            logger.warning("kafka_awaited", brokers=brokers, cause=repr(error))
        await asyncio.sleep(RECONNECT_SECONDS)

    def unanswered(self, seconds: float) -> ConfigurationError:
        """Return the error for brokers that were not there within the time of a start."""
        cause = f" The last error was {self._last_error!r}." if self._last_error else ""
        return ConfigurationError(
            f"Kafka at {self._settings.bootstrap_servers} did not answer within {seconds:g}"
            f" seconds.{cause}"
        )

    async def refusal_at(self, host: str, port: int) -> RefusedError | None:
        """Return why one broker refuses the gateway, if it does."""
        return await refusal_at(host, port, self._settings, self._security)
