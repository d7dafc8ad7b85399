"""The erasure of keys that no image needs: of deletions that were cut short, and of lost uploads.

Hides how a gateway knows of both, whichever of them died. `image-keys` is read in its order: each
tombstone in it ends a key that was loose, and each key that no listed image names is loose. What is
loose for long enough is erased, so that a gateway's own deletion is not erased again by all others.

Time is that of the log, as the newest record of the topic has it: a gateway's clock that is ahead
must not erase the key of an upload under way. Where nothing was appended for long, a record of its
own, a tick, tells the time. It also ends the segment behind a tombstone: the cleaner leaves the one
alone that is written to.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from app.catalog.loose_keys import KeyScan, ReadKey
from app.changes.shred import erase
from app.errors import ImageGoneError, KeyUnavailableError
from app.log import KEYS, Batch, CompactingLog, Record
from app.records import key_record
from app.records.address import Address
from app.records.key_reader import KeyReader, Wrapped
from app.records.signature import Verdict
from app.sealing.wrapped_key import WrappedKey
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.catalog.catalog import Catalog
    from app.feed.feed import Feed
    from app.log import Log, StoredRecord
    from app.records.signature import Signatures

logger = structlog.get_logger(__name__)

# As long as a segment of the topic is written to, where a log does not say.
_SEGMENT_SECONDS = 86_400.0
# Between two ticks, whatever the clock of this gateway says.
_TICK_SECONDS = 600.0
# Keys erased in one append.
_AT_ONCE = 200
# After each batch of a long topic, which has some thousand records.
_PAUSE_SECONDS = 0.05
_TICK = Record(b"tick", None)


class KeySweep:
    """Erases keys of `log` that no image in `catalog` needs.

    Args:
        log: The log.
        catalog: What is known of it.
        feed: How far that is.
        signatures: Keys that strangers wrote, by these, are left alone.
        segment_seconds: How long the topic writes to one segment, if not as the log says.
        tick_seconds: The time between two ticks.
    """

    def __init__(
        self,
        log: Log,
        catalog: Catalog,
        feed: Feed,
        signatures: Signatures,
        *,
        segment_seconds: float | None = None,
        tick_seconds: float = _TICK_SECONDS,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._feed = feed
        self._signatures = signatures
        self._segment_seconds = segment_seconds
        self._tick_seconds = tick_seconds
        self._ticked_at = -tick_seconds
        self._reader = KeyReader(log)

    async def sweep(self) -> int:
        """Erase the keys that are due; return how many.

        Raises:
            NotReadyError: The catalog has not caught up.
            GatewayError: The log does not work.
        """
        if not self._log.partitions(KEYS):
            return 0
        bounds = await self._log.bounds(KEYS, 0)
        # Each tombstone before that end is read once its deletion is applied: it ends the key.
        await self._feed.caught_up()
        scan = await self._catalog.key_scan()
        if scan.next_offset > bounds.end:
            # Another topic took its place.
            scan = KeyScan()
        scan = await self._read(
            replace(scan, next_offset=max(scan.next_offset, bounds.start)), bounds.end
        )
        if await self._needs_tick(scan):
            scan = await self._tick(scan)
        return await self._erase_due(scan.newest_ms)

    async def _read(self, scan: KeyScan, end: int) -> KeyScan:
        """Read the topic up to an end; return how far it was read."""
        if scan.next_offset >= end:
            return scan
        async with aclosing(self._log.tail(KEYS, 0, scan.next_offset)) as tail:
            async for batch in tail:
                # Verifying a full batch takes a tenth of a second: not on the event loop.
                keys = await asyncio.to_thread(self._keys_in, batch.records)
                scan = _after(scan, batch, keys)
                await self._catalog.keys_read(keys, scan)
                if scan.next_offset >= end:
                    break
                await asyncio.sleep(_PAUSE_SECONDS)
        return scan

    def _keys_in(self, records: Sequence[StoredRecord]) -> list[ReadKey]:
        return [each for each in map(self._read_key, records) if each is not None]

    def _read_key(self, record: StoredRecord) -> ReadKey | None:
        """Return a key, or the tombstone of one; None for a stranger's record, or a tick."""
        if (cookie := key_record.cookie_of(record)) is None:
            return None
        where = Address(record.position, cookie)
        if record.value is not None:
            own = Verdict.SIGNED if self._signatures else Verdict.UNSIGNED
            if self._signatures.verdict(KEYS, record) is not own:
                return None
        return ReadKey(where, record.timestamp_ms, record.value is None)

    async def _needs_tick(self, scan: KeyScan) -> bool:
        now_ms = time.time_ns() // 1_000_000
        rolled_ms = scan.erased_ms + int(self._segment_time() * 1000)
        if scan.erased_ms and scan.newest_ms < rolled_ms <= now_ms:
            return True
        first_ms = await self._catalog.first_loose_ms()
        return first_ms is not None and scan.newest_ms < first_ms <= now_ms

    def _segment_time(self) -> float:
        """Return the seconds after which the next record begins a segment."""
        if self._segment_seconds is not None:
            return self._segment_seconds
        log = self._log
        return log.segment_seconds(KEYS) if isinstance(log, CompactingLog) else _SEGMENT_SECONDS

    async def _tick(self, scan: KeyScan) -> KeyScan:
        if time.monotonic() - self._ticked_at < self._tick_seconds:
            return scan
        self._ticked_at = time.monotonic()
        [place] = await self._log.append(KEYS, [_TICK])
        return await self._read(scan, place.offset + 1)

    async def _erase_due(self, now_ms: int) -> int:
        erased, after = 0, -1
        while due := await self._catalog.loose_keys(now_ms, after, _AT_ONCE):
            after = due[-1].position.offset
            found = await self._reader.read(due)
            there = [each for each in due if isinstance(found[each], WrappedKey)]
            gone = [each for each in due if isinstance(found[each], ImageGoneError)]
            is_erased = await erase(self._log, there)
            if is_erased:
                gone += there
                erased += len(there)
            await self._catalog.keys_erased(gone)
            if not is_erased or any(_is_away(each) for each in found.values()):
                # The next ones would wait for the log as long.
                break
        if erased:
            metrics.KEYS_SWEPT.inc(erased)
            logger.info("keys_swept", count=erased)
        return erased


def _is_away(found: Wrapped) -> bool:
    return isinstance(found, KeyUnavailableError) and found.is_away


def _after(scan: KeyScan, batch: Batch, keys: list[ReadKey]) -> KeyScan:
    times = [record.timestamp_ms for record in batch.records]
    erased = [each.timestamp_ms for each in keys if each.is_tombstone]
    return KeyScan(
        batch.next_offset,
        max([scan.newest_ms, *times]),
        max([scan.erased_ms, *erased]),
    )
