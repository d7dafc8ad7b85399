"""Connections to Kafka: the options of each aiokafka client, and when to try again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.log.kafka.settings import KafkaSettings

# Between two attempts to connect: short beside the five seconds that a broker needs to come back,
# long enough not to fill its listen queue.
RECONNECT_SECONDS = 1.0
# A record expires in aiokafka before its deadline passes here, so that one leaderless partition
# fails by itself and a producer is replaced only when it acknowledges nothing at all.
_EXPIRY_RATIO = 2 / 3


def connection(
    settings: KafkaSettings, purpose: str, request_timeout_ms: int = 10_000
) -> dict[str, Any]:
    """Return the constructor arguments of any client."""
    return {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": f"imagegate-{purpose}",
        "request_timeout_ms": request_timeout_ms,
    }


def producing(settings: KafkaSettings, role: str, max_record_bytes: int) -> dict[str, Any]:
    """Return the constructor arguments of a producer."""
    expiry_ms = int(settings.append_timeout_seconds * 1000 * _EXPIRY_RATIO)
    return connection(settings, f"producer-{role}", expiry_ms) | {
        "acks": "all",
        "enable_idempotence": False,
        # Images are compressed already, and the codec would run on the event loop.
        "compression_type": None,
        "max_batch_size": max_record_bytes,
        "max_request_size": max_record_bytes,
    }


@asynccontextmanager
async def administration(settings: KafkaSettings) -> AsyncGenerator[AIOKafkaAdminClient, None]:
    """Provide an admin client, once a broker answers; the caller bounds the time."""
    admin = AIOKafkaAdminClient(**connection(settings, "admin"))
    try:
        await until_connected(admin.start)
        yield admin
    finally:
        await admin.close()


async def until_connected(start: Any) -> None:
    """Call `start` until a broker answers; the caller bounds the time."""
    while True:
        try:
            await start()
        except (KafkaError, OSError):
            await asyncio.sleep(RECONNECT_SECONDS)
        else:
            return
