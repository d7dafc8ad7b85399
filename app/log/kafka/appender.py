"""Writes to Kafka: the partition and the producer of each record, until its deadline.

Hides that there are several producers, as one keeps a single request in flight per broker. Those of
images own some partitions each; events have one of their own. Records go in turn to partitions that
have a leader and a working producer, and among those to the producer with the least to do: a small
image does not wait behind a large one. Those of one append share a batch as far as they fit in it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any

from app.errors import NotWrittenError
from app.log import IMAGES, KEYS
from app.log.kafka.outcomes import is_acknowledged, is_stuck, positions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiokafka.client import AIOKafkaClient

    from app.log import Position, Record
    from app.log.kafka.lane import Lane
    from app.log.kafka.rules import Topic


class Appender:
    """Appends records with `acks=all`.

    Args:
        client: For metadata on leaders; the caller closes it.
        topics: By role.
        image_lanes: For `images`; not started yet.
        event_lane: For all other topics; not started yet.
        batch_bytes: The size of a batch for the topic of a role.
        on_failure: Called when a record was not acknowledged.
        needs_keys: Whether a new image needs a record in the topic of the keys.

    Attributes:
        key_lane: For the keys of images; None until their topic is there.
    """

    def __init__(
        self,
        client: AIOKafkaClient,
        topics: Mapping[str, Topic],
        image_lanes: Sequence[Lane],
        event_lane: Lane,
        batch_bytes: Callable[[str], int],
        on_failure: Callable[[], None],
        *,
        needs_keys: bool,
    ) -> None:
        self._client = client
        self._topics = topics
        self._image_lanes = image_lanes
        self._event_lane = event_lane
        self.key_lane: Lane | None = None
        self._needs_keys = needs_keys
        self._batch_bytes = batch_bytes
        self._on_failure = on_failure
        self._turns = count()

    @property
    def lanes(self) -> list[Lane]:
        """All lanes."""
        lanes = [*self._image_lanes, self._event_lane]
        return [*lanes, self.key_lane] if self.key_lane else lanes

    @property
    def refusal(self) -> str | None:
        """The reason why images or events would be refused now, as a clause, or None."""
        images = [lane.refusal for lane in self._image_lanes]
        others = [lane.refusal for lane in self._needed_lanes]
        return (images[0] if all(images) else None) or next(filter(None, others), None)

    @property
    def trouble(self) -> str | None:
        """The reason why images or events are refused, or were until shortly before, or None."""
        images = [lane.trouble for lane in self._image_lanes]
        others = [lane.trouble for lane in self._needed_lanes]
        return (images[0] if all(images) else None) or next(filter(None, others), None)

    async def append(
        self, topic: str, records: Sequence[Record], deadline: float
    ) -> list[Position]:
        """Append, each record on the lane that owns its partition; see `Log.append`."""
        if topic not in self._topics or (topic == KEYS and self.key_lane is None):
            self._on_failure()
            raise NotWrittenError(f"There is no topic {topic} yet.")
        by_partition = self._place(topic, records)
        started = asyncio.get_running_loop().time()
        sent: dict[int, asyncio.Future[Any]] = {}
        async with asyncio.TaskGroup() as group:
            for partition, indices in by_partition.items():
                group.create_task(
                    self._hand_over(topic, partition, records, indices, sent, deadline)
                )
        if sent:
            left_seconds = deadline - asyncio.get_running_loop().time()
            await asyncio.wait(sent.values(), timeout=max(left_seconds, 0))
        for partition, indices in by_partition.items():
            if any(index in sent and is_stuck(sent[index]) for index in indices):
                self._lane(topic, partition).failed(started)
        if len(sent) < len(records) or any(not is_acknowledged(each) for each in sent.values()):
            self._on_failure()
        return positions([sent.get(index) for index in range(len(records))])

    async def _hand_over(
        self,
        topic: str,
        partition: int,
        records: Sequence[Record],
        indices: Sequence[int],
        sent: dict[int, asyncio.Future[Any]],
        deadline: float,
    ) -> None:
        """Send records in order until one is refused; a record with a future may be in the log."""
        lane, name = self._lane(topic, partition), self._topics[topic].name
        try:
            async with asyncio.timeout_at(deadline):
                for index in indices:
                    sent[index] = await lane.send(name, partition, records[index])
        except (TimeoutError, NotWrittenError):
            # The lane logs the reason, once; the outcomes tell the caller.
            return

    def _place(self, topic: str, records: Sequence[Record]) -> dict[int, list[int]]:
        """Return the indices of the records that go to each partition, in order."""
        placed: dict[int, list[int]] = defaultdict(list)
        work = {lane: lane.held_bytes for lane in self.lanes if not lane.refusal}
        led = self._client.cluster.available_partitions_for_topic(self._topics[topic].name) or ()
        total = self._topics[topic].partitions
        # Of the batch that is being filled.
        filled, room_bytes = 0, 0
        for index, record in enumerate(records):
            partition = record.partition
            if partition is None:
                if record.size_bytes > room_bytes:
                    first = next(self._turns)
                    inside = [(first + step) % total for step in range(total)]
                    free = [
                        each for each in inside if each in led and self._lane(topic, each) in work
                    ]
                    # Of several equal ones, `min` returns the first: it is its turn.
                    filled = min(
                        free or inside[:1], key=lambda each: work.get(self._lane(topic, each), 0)
                    )
                    room_bytes = self._batch_bytes(topic)
                room_bytes -= record.size_bytes
                partition = filled
            placed[partition].append(index)
            lane = self._lane(topic, partition)
            work[lane] = work.get(lane, 0) + record.size_bytes
        return placed

    @property
    def _needed_lanes(self) -> list[Lane]:
        """Those of which a new image needs each."""
        if self._needs_keys and self.key_lane is not None:
            return [self._event_lane, self.key_lane]
        return [self._event_lane]

    def _lane(self, topic: str, partition: int) -> Lane:
        if topic == KEYS and self.key_lane is not None:
            return self.key_lane
        if topic != IMAGES:
            return self._event_lane
        return self._image_lanes[partition % len(self._image_lanes)]
