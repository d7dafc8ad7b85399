"""The embedded log's bare counterpart: inserts and selects of the standard library's `sqlite3`."""

import asyncio
import itertools
import sqlite3
from concurrent.futures import ThreadPoolExecutor

from app.log.sqlite.database import PAGE_BYTES
from app.log.sqlite.readers import READERS
from bench.rounds import IN_FLIGHT


class BareSqlite:
    """A table of blobs, as durable as the log. An asynchronous context manager."""

    def __init__(self, folder):
        self._path = folder / "bare.sqlite3"
        self._numbers = itertools.count()
        self._writer = ThreadPoolExecutor(1)
        self._readers = ThreadPoolExecutor(READERS)

    async def __aenter__(self):
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        for setting in (f"page_size = {PAGE_BYTES}", "journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, value BLOB)")
        return self

    async def __aexit__(self, *_):
        self._writer.shutdown()
        self._readers.shutdown()
        self._connection.close()

    async def write(self, images):
        """Insert images, each a list of values, with a commit for as many as are in flight.

        Returns:
            The addresses of each image's records.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, images)

    async def read(self, addresses):
        """Select images by the result of `write`, in as many threads as the log reads with."""
        shares = [addresses[number::READERS] for number in range(READERS)]
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._readers, self._read, share) for share in shares)
        )

    def _write(self, images):
        addresses = []
        for first in range(0, len(images), IN_FLIGHT):
            self._connection.execute("BEGIN IMMEDIATE")
            addresses += [self._insert(image) for image in images[first : first + IN_FLIGHT]]
            self._connection.execute("COMMIT")
        return addresses

    def _insert(self, image):
        rows = [(next(self._numbers), value) for value in image]
        self._connection.executemany("INSERT INTO records VALUES (?, ?)", rows)
        return [number for number, _ in rows]

    def _read(self, addresses):
        connection = sqlite3.connect(self._path)
        for number in itertools.chain(*addresses):
            connection.execute("SELECT value FROM records WHERE number = ?", (number,)).fetchone()
        connection.close()
