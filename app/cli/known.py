"""The log that the settings name, with all that is known of it, for commands that change images."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.main import opened_log
from app.reader.folder import state_folder
from app.reader.view import View
from app.records.signature import Signatures

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.log import Log
    from app.settings import Settings


@asynccontextmanager
async def known_log(settings: Settings) -> AsyncGenerator[tuple[Log, View], None]:
    """Provide the log and a view of everything in it; at the end, wait until the view has it all.

    So the embedded log has erased what was deleted.

    Raises:
        ConfigurationError: The log cannot be opened, or is embedded and not there.
        NewerVersionError: Only a newer version understands one of its events.
    """
    async with opened_log(settings, must_exist=True) as log:
        with state_folder(None) as folder:
            view = View(log, folder, Signatures(settings.kafka.keys))
            await view.open()
            try:
                await view.filled()
                yield log, view
                await view.filled()
            finally:
                await view.close()
