"""The sealing keys that hold images, counted from the events of a log.

Hides that they are counted by a catalog of its own, so that copies, deleted images and those whose
claim does not count are told apart as a gateway tells them. No sealing key is needed: an event
names the one that its image needs. But those that are here tell what is true from what anybody has
written in front of it: nobody must drop a key because of that.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from app.log.kafka.read_only import ReadOnlyKafkaLog
from app.log.sqlite.log import SqliteLog
from app.reader.folder import state_folder
from app.reader.source import ReadingHalf
from app.reader.view import View
from app.records.signature import Signatures
from app.sealing.configured import data_keys

if TYPE_CHECKING:
    from app.log import ReadableLog
    from app.settings import Settings


async def sealed_by(settings: Settings) -> dict[str, int]:
    """Return how many images each sealing key holds, by its id, in the log that the settings name.

    Raises:
        ConfigurationError: The log cannot be read, or a gateway has its folder in use.
        NewerVersionError: Only a newer version understands one of the events.
    """
    kafka = settings.kafka
    log: ReadableLog
    if kafka.bootstrap_servers:
        log = ReadOnlyKafkaLog(kafka)
    else:
        log = ReadingHalf(SqliteLog(settings.data_dir))
    async with AsyncExitStack() as parts:
        await log.start()
        parts.push_async_callback(log.stop)
        folder = parts.enter_context(state_folder(None))
        keys = data_keys(settings.sealing)
        parts.push_async_callback(keys.stop)
        view = View(log, folder, Signatures(kafka.keys), keys)
        await view.open()
        parts.push_async_callback(view.close)
        await view.filled()
        return await view.catalog.sealed_by()
