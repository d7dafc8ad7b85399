"""The reader: every image of a log once, in order, for the members of a consumer group.

Hides how its parts are put together. An image counts as handled when the next one is asked for, or
when `commit` says so: a crash repeats images, and passes over none.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, TypedDict

from app.errors import LogUnavailableError
from app.log.kafka.read_only import ReadOnlyKafkaLog
from app.reader.folder import state_folder
from app.reader.options import (
    LogOptions,
    Start,
    check_source,
    check_start,
    group_of,
    kafka_settings,
    sealing_settings,
)
from app.reader.reading import Reading
from app.reader.view import View
from app.records.signature import Signatures
from app.sealing.configured import data_keys
from app.telemetry import logs

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from app.reader.image import Image


class ReadOptions(TypedDict, total=False):
    """The options of reading; see `ImageReader`."""

    start: Start
    shard: tuple[int, int] | None
    source: str | None
    auto_commit: bool
    follow: bool
    state_dir: str | Path | None
    session_timeout_seconds: float
    handling_timeout_seconds: float


class ImageReader:
    """An asynchronous iterator over the images of a log, for one member of a consumer group.

    It is a context manager, too::

        async with ImageReader(bootstrap_servers="…", group_id="labels") as images:
            async for image in images:
                data = await image.bytes()

    Args:
        bootstrap_servers: `host:port` of one or more brokers, separated by commas.
        group_id: The consumer group. Of its members one has the turn and reads; another takes over
            when it is gone.
        start: Where a group begins that has committed nothing yet.
        shard: `(k, n)`: only the images whose hash falls to number `k` of `n`, counted from 0, with
            a group of its own.
        source: Only the images from this camera or device, as their uploads said. Members of one
            group have the same.
        auto_commit: Whether an image counts as handled when the next one is asked for. Without, it
            does when `commit` is called.
        follow: Whether to wait for more at the end of the log, or to stop there.
        state_dir: A folder of its own, in which what is known of the log stays for the next start.
            Without, each start reads all events, and keeps a kilobyte for each in a temporary one.
        session_timeout_seconds: How long a member that was killed still has the turn.
        handling_timeout_seconds: How long one image may be handled before the turn is lost.
        log: How to reach and read the log, and the keys that open encrypted images.

    Raises:
        ConfigurationError: An option is not allowed.

    Attributes:
        group_id: The group's id on Kafka: with a shard, `GROUP.K-of-N`.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        group_id: str,
        start: Start = "earliest",
        shard: tuple[int, int] | None = None,
        source: str | None = None,
        auto_commit: bool = True,
        follow: bool = True,
        state_dir: str | Path | None = None,
        session_timeout_seconds: float = 10.0,
        handling_timeout_seconds: float = 300.0,
        **log: Unpack[LogOptions],
    ) -> None:
        check_start(start)
        self.group_id = group_of(group_id, shard)
        sealing, kafka = sealing_settings(log)
        self._settings = kafka_settings(bootstrap_servers, kafka)
        self._sealing = sealing
        self._start = start
        self._shard = shard
        self._source = check_source(source)
        self._auto_commit = auto_commit
        self._follow = follow
        self._state_dir = state_dir
        self._log = ReadOnlyKafkaLog(self._settings)
        self._member = self._log.member(
            self.group_id, session_timeout_seconds, handling_timeout_seconds
        )
        self._reading: Reading | None = None
        self._parts = AsyncExitStack()

    @classmethod
    def from_settings(cls, *, group_id: str, **options: Unpack[ReadOptions]) -> Self:
        """Return a reader that reaches the log as the environment of a gateway says.

        Args:
            group_id: The consumer group.
            options: As for `ImageReader`.

        Raises:
            ConfigurationError: A setting or an option is not allowed, or no broker is named.
        """
        from app.reader.environment import log_options  # noqa: PLC0415 - costs 0.2 s

        bootstrap_servers, log = log_options()
        return cls(bootstrap_servers=bootstrap_servers, group_id=group_id, **options, **log)

    async def __aenter__(self) -> Self:
        logs.configure_library()
        async with AsyncExitStack() as parts:
            folder = parts.enter_context(state_folder(self._state_dir))
            await self._log.start()
            parts.push_async_callback(self._log.stop)
            keys = data_keys(self._sealing)
            parts.push_async_callback(keys.stop)
            view = View(self._log, folder, Signatures(self._settings.keys), keys)
            await view.open()
            parts.push_async_callback(view.close)
            parts.push_async_callback(self._member.stop)
            await self._member.start()
            self._reading = Reading(
                self._log,
                view,
                self._member,
                self._start,
                self._shard,
                self._source,
                follow=self._follow,
            )
            parts.push_async_callback(self._reading.stop)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading = None
        await self._parts.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Image:
        reading = self._opened()
        if self._auto_commit:
            reading.handled()
        self._member.asking()
        try:
            image = await reading.next()
        finally:
            self._member.handling()
        if image is None:
            raise StopAsyncIteration
        return image

    @property
    def end(self) -> int | None:
        """The sequence number behind the last event when reading began; None before that."""
        return self._opened().end

    async def commit(self) -> None:
        """Commit that every image so far was handled; return once it is stored.

        Raises:
            TurnLostError: Another member may have the turn: the images may be handled again.
            LogUnavailableError: The brokers do not confirm it in time; commit again.
        """
        reading = self._opened()
        reading.handled()
        await reading.save()

    def _opened(self) -> Reading:
        if self._reading is None:
            raise LogUnavailableError("The reader is closed: use it by `async with`.")
        return self._reading
