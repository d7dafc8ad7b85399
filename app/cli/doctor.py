"""`imagegate doctor`: an examination of a deployment.

Hides the order of the examination: the certificate for TLS, if there is one, a codec worker, which
is started to see how it is confined, a sealing key, which wraps another, the data folder, the
log's own examination of its brokers or database, and, where nothing is wrong then, one record
written to each partition of `images` and read back.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from app.cli.options import add_json, add_log, load, report
from app.data_folder import LOCK_NAME, FolderLock
from app.errors import ConfigurationError, GatewayError, RecordDamagedError
from app.log import IMAGES, ErasableLog, Record
from app.log.findings import MISSING, Finding, Level, is_wrong
from app.main import build_log, build_pool
from app.records.address import new_cookie
from app.sealing.configured import data_keys
from app.section import variable
from app.server.certificate import files_of, read_certificate
from app.telemetry import logs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine
    from pathlib import Path

    from app.codec.pool import CodecPool
    from app.log import ExaminableLog, Log, Position
    from app.sealing.settings import SealingSettings
    from app.server.settings import ServerSettings

# The catalog needs about a kilobyte an image, the embedded log all of the image.
_FREE_BYTES = 1_000_000_000
# Only the times that people read depend on the clock.
_CLOCK_SECONDS = 5.0
# Certificates are valid for 90 days or less, and renewed a third of that before.
_RENEWAL = dt.timedelta(days=14)
# The value of the records that are written.
PIECE = b"written by imagegate doctor"


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "doctor",
        help="say what is right and wrong with the deployment; status 1 if anything is wrong",
    )
    add_log(command)
    add_json(command)
    command.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    logs.configure("error")
    settings = load(options)
    embedded = not settings.kafka.bootstrap_servers
    # One worker tells as much as all of them.
    imaging = settings.imaging.model_copy(update={"workers": 1})
    pool = build_pool(imaging, measure_quality=imaging.measure_quality)
    examination = examine(build_log(settings), settings.data_dir, embedded=embedded)
    found = examine_certificate(settings.http, dt.datetime.now(dt.UTC))
    others = _examine_all(pool, settings.sealing, examination)
    return report(options, found + asyncio.run(others))


async def _examine_all(
    pool: CodecPool, sealing: SealingSettings, examination: Coroutine[Any, Any, list[Finding]]
) -> list[Finding]:
    return [await examine_workers(pool), *await examine_sealing(sealing), *await examination]


async def examine_sealing(settings: SealingSettings) -> list[Finding]:
    """Return the finding on the keys that encrypt images, if there are any."""
    remedy = (
        f"see {variable('sealing', 'keys')} and what begins with {variable('sealing', 'vault_')}"
    )
    try:
        # The key that was made must not come out of memory: another right of Vault's unwraps it.
        keys = data_keys(settings.model_copy(update={"vault_cache_seconds": 0}))
        try:
            if (made := await keys.new()) is None:
                return []
            await keys.unwrap(made.wrapped)
        finally:
            await keys.stop()
    except GatewayError as error:
        return [Finding(Level.WRONG, "sealing keys", error.reason.removesuffix("."), remedy)]
    found = f"images are encrypted by {made.wrapped.kek}, which wraps and unwraps a key"
    return [Finding(Level.OK, "sealing keys", found)]


def examine_certificate(http: ServerSettings, now: dt.datetime) -> list[Finding]:
    """Return the finding on the certificate for TLS, if there is one."""
    try:
        if (files := files_of(http)) is None:
            return []
        expires = read_certificate(*files).expires
    except ConfigurationError as error:
        names = " and ".join(variable("http", f"tls_{each}_file") for each in ("cert", "key"))
        return [Finding(Level.WRONG, "certificate", error.detail.removesuffix("."), f"see {names}")]
    remedy = "put a new one, with its key, in place of the files; the gateway reads them again"
    if expires <= now:
        return [Finding(Level.WRONG, "certificate", f"expired on {expires:%Y-%m-%d}", remedy)]
    said = f"is valid until {expires:%Y-%m-%d}"
    if expires - now < _RENEWAL:
        return [Finding(Level.WARNING, "certificate", said, remedy)]
    return [Finding(Level.OK, "certificate", said)]


async def examine_workers(pool: CodecPool) -> Finding:
    """Return the finding on the confinement of codec workers; `pool` must not be started."""
    try:
        async with pool:
            in_force, lacking = pool.in_force, pool.lacking
    except ConfigurationError as error:
        remedy = f"see {variable('imaging', 'sandbox')} and {variable('imaging', 'memory_bytes')}"
        return Finding(Level.WRONG, "codec workers", error.detail.removesuffix("."), remedy)
    confined = f"are confined by {', '.join(in_force) or 'nothing'}"
    if not lacking:
        return Finding(Level.OK, "codec workers", confined)
    found = f"{confined}; not by {', '.join(lacking)}"
    remedy = "run on Linux 5.13 or newer, with Landlock, on x86-64 or arm64"
    return Finding(Level.WARNING, "codec workers", found, remedy)


async def examine(log: ExaminableLog, data_dir: Path, *, embedded: bool) -> list[Finding]:
    """Examine a deployment; `log` must not be started, and is stopped on return.

    Args:
        log: The log that the settings name.
        data_dir: The data folder.
        embedded: Whether the log is stored in the data folder.
    """
    found = _folder(data_dir)
    found += await log.examine()
    if is_wrong(found):
        return [*found, Finding(Level.WARNING, "round trip", "not tried, as something is wrong")]
    if any(each.found == MISSING for each in found):
        return [*found, Finding(Level.OK, "round trip", "not tried, as there are no topics yet")]
    if embedded and (reason := _occupied(data_dir)):
        return [*found, Finding(Level.OK, "round trip", f"not tried, as {reason}")]
    return found + await _round_trip(log)


def _folder(folder: Path) -> list[Finding]:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        remedy = "give the gateway's user the right, or set IMAGEGATE_DATA_DIR"
        return [Finding(Level.WRONG, "data folder", f"{place} cannot be written", remedy)]
    free = shutil.disk_usage(place).free
    said = f"{folder.absolute()}: {free / 1e9:,.1f} GB free"
    if free < _FREE_BYTES:
        return [Finding(Level.WARNING, "data folder", said, "make room on its disk")]
    return [Finding(Level.OK, "data folder", said)]


def _occupied(folder: Path) -> str:
    """Return why another process cannot or should not open the embedded log; empty if it may."""
    if not (folder / LOCK_NAME).exists():
        # Files that root creates here could not be written by the gateway's own user.
        return "there is no log yet"
    try:
        with FolderLock(folder):
            return ""
    except ConfigurationError:
        return "a gateway uses the folder"


async def _round_trip(log: Log) -> list[Finding]:
    """Write a record that no image refers to into every partition, and read each back."""
    try:
        await log.start()
        try:
            tries = (_try_partition(log, each) for each in range(log.partitions(IMAGES)))
            outcomes = await asyncio.gather(*tries)
            if isinstance(log, ErasableLog):
                await log.erase(IMAGES, [position for position, *_ in outcomes])
        finally:
            await log.stop()
    except GatewayError as error:
        remedy = "look at the log of the gateway and of the broker"
        return [Finding(Level.WRONG, "round trip", error.detail.removesuffix("."), remedy)]
    slowest = max(seconds for _, seconds, _ in outcomes)
    drift = max((drift for *_, drift in outcomes), key=abs)
    return [
        Finding(
            Level.OK,
            "round trip",
            f"wrote a record to {len(outcomes)} partitions and read it back,"
            f" the slowest in {slowest * 1000:.0f} ms",
        ),
        compare_clocks(drift),
    ]


async def _try_partition(log: Log, partition: int) -> tuple[Position, float, float]:
    """Return the position, the seconds of the round trip, and how far the log's clock is ahead."""
    started, clock = time.monotonic(), time.time()
    key = new_cookie().hex().encode()
    [position] = await log.append(IMAGES, [Record(key, PIECE, partition=partition)])
    written = (clock + time.time()) / 2
    record = (await log.read(IMAGES, position)).record
    if (record.key, record.value) != (key, PIECE):
        detail = f"The record read at {position} is not the one that was written there."
        raise RecordDamagedError(detail, position.offset)
    return position, time.monotonic() - started, record.timestamp_ms / 1000 - written


def compare_clocks(drift: float) -> Finding:
    """Return the finding on the clock; `drift` is how many seconds the log's clock is ahead."""
    if abs(drift) < _CLOCK_SECONDS:
        return Finding(Level.OK, "clock", "agrees with the log's")
    return Finding(
        Level.WARNING,
        "clock",
        f"is {abs(drift):,.0f} seconds {'behind' if drift > 0 else 'ahead of'} the log's",
        "let NTP set both clocks: images carry the time of the log, log lines that of the gateway",
    )
