"""One aiokafka producer that is replaced when it fails.

Hides when: a producer that acknowledges nothing is abandoned, and until its successor has a first
acknowledgement, records are refused rather than held.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.errors import NotWrittenError
from app.log.kafka.abandon import abandon
from app.log.kafka.connections import RECONNECT_SECONDS
from app.log.kafka.send_once import send_once
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.log import Record

logger = structlog.get_logger(__name__)

# A leader that was killed is replaced within three to five seconds (seen on 4.3.1), so a producer
# that acknowledges nothing for this long gets no further records: those that it holds may still
# succeed, and new ones are refused with certainty instead of being held as well.
_BREAKER_SECONDS = 5.0
# A connection that replaces one without acknowledgements is tried with one record at a time until
# one is acknowledged. Until a client tries it, the gateway is not ready, but only for this long:
# otherwise the clients that could try it would stay away.
_PROBATION_SECONDS = 10.0


class Lane:
    """A producer and its successors; records are refused while there is none.

    Attributes:
        role: Of the topic that the lane is for.

    Args:
        name: Name in log events and metrics.
        role: Of the topic that the lane is for.
        options: Constructor arguments of `AIOKafkaProducer`.
        connect_timeout_seconds: Bound for one attempt to connect.
        once: Never send a record again whose answer was lost; see `send_once`.
    """

    def __init__(
        self,
        name: str,
        role: str,
        options: Mapping[str, Any],
        connect_timeout_seconds: float,
        *,
        once: bool = False,
    ) -> None:
        self.role = role
        self._name = name
        self._options = options
        self._connect_timeout_seconds = connect_timeout_seconds
        self._once = once
        self._producer: Any = None
        self._renewal: asyncio.Task[None] | None = None
        self._last_acknowledged = 0.0
        self._held = 0
        self._held_bytes = 0
        # When the first held record was handed over, or the last acknowledgement came.
        self._silent_since = 0.0
        self._complained = False
        self._stopped = False
        self._on_probation = False
        self._connected_at = 0.0

    @property
    def refusal(self) -> str | None:
        """The reason why records are refused now, as a clause, or None."""
        if self._producer is None:
            return "there is no connection to Kafka for writing"
        silent_seconds = asyncio.get_running_loop().time() - self._silent_since
        if self._held and silent_seconds > _BREAKER_SECONDS:
            return f"Kafka has acknowledged nothing for {silent_seconds:.0f} seconds"
        if self._held and self._on_probation:
            return "Kafka acknowledges nothing, and is tried with one record at a time"
        return None

    @property
    def trouble(self) -> str | None:
        """The reason why records are refused, or were until shortly before, or None."""
        connected_seconds = asyncio.get_running_loop().time() - self._connected_at
        if self._on_probation and connected_seconds < _PROBATION_SECONDS:
            return self.refusal or "Kafka acknowledged nothing on the last connection"
        return self.refusal

    @property
    def held_bytes(self) -> int:
        """Bytes of records that were handed over and are not acknowledged yet."""
        return self._held_bytes

    def renew(self, options: Mapping[str, Any]) -> None:
        """Replace the producer by one with these options."""
        self._options = options
        if self._producer is not None:
            self._replace(self._producer, "the topic has other limits", on_probation=False)

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError, OSError, TimeoutError: No broker could be reached.
        """
        self._producer = await self._connect()

    async def stop(self, timeout_seconds: float) -> None:
        """Send the held records, within `timeout_seconds`; then fail the rest."""
        self._stopped = True
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})
        if self._producer is not None:
            producer, self._producer = self._producer, None
            flush = asyncio.ensure_future(producer.flush())
            await asyncio.wait({flush}, timeout=timeout_seconds)
            flush.cancel()
            await abandon(producer)

    async def send(self, topic: str, partition: int, record: Record) -> asyncio.Future[Any]:
        """Hand one record over. On return it may be in the log.

        Returns:
            A future of aiokafka's `RecordMetadata`. It is always resolved.

        Raises:
            NotWrittenError: The record was not handed over.
        """
        producer = self._producer
        if producer is None or self.refusal:
            self._complain(self.refusal)
            raise NotWrittenError("Kafka acknowledges no records now.")
        try:
            future: asyncio.Future[Any] = await producer.send(
                topic,
                value=record.value,
                key=record.key,
                partition=partition,
                headers=list(record.headers),
            )
        # Any error of `send`, an AssertionError for an unknown partition included, is raised before
        # the record is in a batch.
        except Exception as error:
            if producer._sender.sender_task.done():
                self._replace(producer, "its sender has ended")
            self._complain(repr(error))
            raise NotWrittenError("Kafka accepts no records now.") from error
        if not self._held:
            self._silent_since = asyncio.get_running_loop().time()
        self._held += 1
        self._held_bytes += record.size_bytes
        future.add_done_callback(partial(self._resolved, record.size_bytes))
        return future

    def failed(self, since: float) -> None:
        """Report a record, handed over at `since` (loop time), that was not acknowledged.

        The producer is replaced if it has acknowledged nothing since: until a broker answers again,
        records are refused at once, and with certainty. If it has acknowledged others, the fault is
        one partition's.
        """
        if self._producer is not None and self._last_acknowledged < since:
            self._replace(self._producer, "it acknowledges no records")

    def _resolved(self, size_bytes: int, future: asyncio.Future[Any]) -> None:
        self._held -= 1
        self._held_bytes -= size_bytes
        if not future.cancelled() and future.exception() is None:
            self._last_acknowledged = self._silent_since = asyncio.get_running_loop().time()
            self._complained = self._on_probation = False

    def _complain(self, reason: str | None) -> None:
        """Log why records are refused, once until one is acknowledged again."""
        if not self._complained:
            self._complained = True
            logger.warning("kafka_refuses_records", lane=self._name, reason=reason)

    def _replace(self, producer: Any, reason: str, *, on_probation: bool = True) -> None:
        if self._stopped or producer is not self._producer:
            return
        logger.warning("kafka_producer_replaced", lane=self._name, reason=reason)
        metrics.PRODUCERS_REPLACED.labels(self._name).inc()
        self._producer = None
        self._on_probation = self._on_probation or on_probation
        self._renewal = asyncio.create_task(self._renew(producer))

    async def _renew(self, failed: Any) -> None:
        await abandon(failed)
        while True:
            options = self._options
            try:
                producer = await self._connect()
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(RECONNECT_SECONDS)
            # Any other end of this loop would leave the lane without a producer for ever.
            except Exception:
                logger.exception("kafka_producer_failed", lane=self._name)
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                if options is self._options:
                    # Earlier failures say nothing about this producer.
                    self._connected_at = asyncio.get_running_loop().time()
                    self._last_acknowledged = self._connected_at
                    self._producer = producer
                    logger.info("kafka_producer_connected", lane=self._name)
                    return
                await abandon(producer)

    async def _connect(self) -> Any:
        producer = AIOKafkaProducer(**self._options)
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                await producer.start()
        except BaseException:
            await abandon(producer)
            raise
        if self._once:
            send_once(producer)
        return producer
