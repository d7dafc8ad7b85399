"""One aiokafka producer that is replaced when it fails.

Hides how a producer is given up. `AIOKafkaProducer.stop()` waits for the broker without end, and
after a cancelled `stop()` the sender lives on and may still write, with its futures pending for
ever (aiokafka 0.14; #1101). Giving one up therefore means: close its connections, cancel its
sender, fail what it held. All of that is private API, hence the tight pin in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from app.errors import NotWrittenError
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.log import Record

logger = structlog.get_logger(__name__)

# Between two attempts to connect a new producer: short beside the five seconds that a broker
# needs to come back, long enough not to fill its listen queue.
RECONNECT_SECONDS = 1.0
# A leader that was killed is replaced within three to five seconds (seen on 4.3.1), so a producer
# that acknowledges nothing for this long takes no further records: what it holds may still succeed,
# and what comes is refused with certainty instead of being held as well.
_BREAKER_SECONDS = 5.0
# A connection that was made anew because the last one acknowledged nothing is tried with one record
# at a time until one is acknowledged. While nobody tries, readiness doubts it for this long: for
# ever would keep away those who could.
_PROBATION_SECONDS = 10.0
# A sender that was cancelled ends within its back-off of 0.1 s, unless it waits for metadata.
_SENDER_STEPS, _SENDER_STEP_SECONDS = 10, 0.2


class Lane:
    """A producer and its replacement: appends go through while there is one.

    Attributes:
        name: For the log.

    Args:
        name: The same.
        options: Constructor arguments of `AIOKafkaProducer`.
        connect_timeout_seconds: Bound for one attempt to connect.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], connect_timeout_seconds: float
    ) -> None:
        self.name = name
        self._options = options
        self._connect_timeout_seconds = connect_timeout_seconds
        self._producer: Any = None
        self._renewal: asyncio.Task[None] | None = None
        self._last_acknowledged = 0.0
        self._held = 0
        self._held_bytes = 0
        # When the first of what is held was handed over, or the last acknowledgement came.
        self._silent_since = 0.0
        self._complained = False
        self._stopped = False
        self._on_probation = False
        self._connected_at = 0.0

    @property
    def refusal(self) -> str | None:
        """Say why records are refused at the moment, in a clause, or None."""
        if self._producer is None:
            return "no connection to Kafka could be made that writes"
        silent_seconds = asyncio.get_running_loop().time() - self._silent_since
        if self._held and silent_seconds > _BREAKER_SECONDS:
            return f"Kafka has acknowledged nothing for {silent_seconds:.0f} seconds"
        if self._held and self._on_probation:
            return "Kafka acknowledges nothing, and is tried with one record at a time"
        return None

    @property
    def trouble(self) -> str | None:
        """Say why records are refused, or were until a moment ago, in a clause, or None."""
        connected_seconds = asyncio.get_running_loop().time() - self._connected_at
        if self._on_probation and connected_seconds < _PROBATION_SECONDS:
            return self.refusal or "Kafka acknowledged nothing on the last connection"
        return self.refusal

    @property
    def held_bytes(self) -> int:
        """The bytes that were handed over and are not acknowledged."""
        return self._held_bytes

    def renew(self, options: Mapping[str, Any]) -> None:
        """Replace the producer by one with other options."""
        self._options = options
        if self._producer is not None:
            self._replace(self._producer, "it has other limits", on_probation=False)

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError, OSError, TimeoutError: No broker could be reached.
        """
        self._producer = await self._connect()

    async def stop(self, timeout_seconds: float) -> None:
        """Send what is held, for so many seconds at most; then let go of it."""
        self._stopped = True
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})
        if self._producer is not None:
            producer, self._producer = self._producer, None
            flush = asyncio.ensure_future(producer.flush())
            await asyncio.wait({flush}, timeout=timeout_seconds)
            flush.cancel()
            await _give_up(producer)

    async def send(self, topic: str, partition: int, record: Record) -> asyncio.Future[Any]:
        """Hand one record over. From the moment that this returns, it may be in the log.

        Returns:
            A future of aiokafka's `RecordMetadata`. It is resolved in any event.

        Raises:
            NotWrittenError: The record was not handed over.
        """
        producer = self._producer
        if producer is None or self.refusal:
            self._complain(self.refusal)
            raise NotWrittenError("Kafka acknowledges no records at the moment.")
        try:
            future: asyncio.Future[Any] = await producer.send(
                topic,
                value=record.value,
                key=record.key,
                partition=partition,
                headers=list(record.headers),
            )
        # Whatever `send` raises, an AssertionError for an unknown partition included, it raises
        # before the record is in a batch.
        except Exception as error:
            if producer._sender.sender_task.done():
                self._replace(producer, "its sender ended")
            self._complain(repr(error))
            raise NotWrittenError("Kafka does not take records at the moment.") from error
        if not self._held:
            self._silent_since = asyncio.get_running_loop().time()
        self._held += 1
        self._held_bytes += record.size_bytes
        future.add_done_callback(partial(self._resolved, record.size_bytes))
        return future

    def failed(self, since: float) -> None:
        """Report a record, handed over at `since` (loop time), that was not acknowledged.

        The producer is replaced if it acknowledged nothing in the meantime: until a broker answers
        again, records are refused at once, and with certainty. If it did acknowledge others, the
        fault is one partition's.
        """
        if self._producer is not None and self._last_acknowledged < since:
            self._replace(self._producer, "it acknowledges nothing")

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
            logger.warning("kafka_refuses_records", lane=self.name, reason=reason)

    def _replace(self, producer: Any, reason: str, *, on_probation: bool = True) -> None:
        if self._stopped or producer is not self._producer:
            return
        logger.warning("kafka_producer_replaced", lane=self.name, reason=reason)
        metrics.PRODUCERS_REPLACED.labels(self.name).inc()
        self._producer = None
        self._on_probation = self._on_probation or on_probation
        self._renewal = asyncio.create_task(self._renew(producer))

    async def _renew(self, failed: Any) -> None:
        await _give_up(failed)
        while True:
            options = self._options
            try:
                producer = await self._connect()
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(RECONNECT_SECONDS)
            # Without a producer the lane would be of no use for ever.
            except Exception:
                logger.exception("kafka_producer_failed", lane=self.name)
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                if options is self._options:
                    # What failed before it was there says nothing about it.
                    self._connected_at = asyncio.get_running_loop().time()
                    self._last_acknowledged = self._connected_at
                    self._producer = producer
                    logger.info("kafka_producer_connected", lane=self.name)
                    return
                await _give_up(producer)

    async def _connect(self) -> Any:
        producer = AIOKafkaProducer(**self._options)
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                await producer.start()
        except BaseException:
            await _give_up(producer)
            raise
        return producer


async def _give_up(producer: Any) -> None:
    """Close a producer at once; every future that it gave out is resolved on return."""
    producer._closed = True  # its finalizer would warn about a producer not stopped
    client = producer.client
    if client._sync_task is not None:
        client._sync_task.cancel()
    _abort_connections(client)
    sender = producer._sender.sender_task
    if sender is not None:
        await _end_sender(sender, client)
    _fail_held(producer._message_accumulator)
    _abort_connections(client)


async def _end_sender(sender: asyncio.Task[None], client: Any) -> None:
    sender.cancel()
    for _ in range(_SENDER_STEPS):
        # Nobody answers this future any more, and the sender's requests wait for it.
        metadata = client._md_update_fut
        if metadata is not None and not metadata.done():
            metadata.set_result(False)
        done, _ = await asyncio.wait({sender}, timeout=_SENDER_STEP_SECONDS)
        if done:
            break
    else:
        sender.cancel()
        await asyncio.wait({sender}, timeout=_SENDER_STEP_SECONDS)
    if sender.done() and not sender.cancelled():
        sender.exception()


def _fail_held(accumulator: Any) -> None:
    # A batch that waits to be sent again has a callback that takes it out of the pending ones.
    accumulator._pending_batches.update(chain(*accumulator._batches.values()))
    batches = list(accumulator._pending_batches)
    accumulator.fail_all(KafkaConnectionError("given up"))
    for batch in batches:
        # Those that nobody waits for would be reported as never looked at.
        for future in (batch.future, batch._drain_waiter):
            if future.done() and not future.cancelled():
                future.exception()


def _abort_connections(client: Any) -> None:
    for connection in list(client._conns.values()):
        writer = connection._writer
        connection.close()
        if writer is not None:
            # `close` would wait for what is buffered to reach a broker that may hang.
            with contextlib.suppress(RuntimeError):
                writer.transport.abort()
