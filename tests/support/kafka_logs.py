"""`KafkaLog` on topics of a test's own."""

import asyncio
import uuid
from contextlib import asynccontextmanager

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import IMAGES, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings

APPEND_SECONDS = 1.5


def new_prefix():
    return f"log-{uuid.uuid4().hex[:8]}-"


@asynccontextmanager
async def opened_log(kafka, **options):
    """Run a log with two partitions of images and two producers for them."""
    defaults = {
        "topic_prefix": new_prefix(),
        "partitions": 2,
        "producers": 2,
        "append_timeout_seconds": APPEND_SECONDS,
    }
    log = KafkaLog(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, **defaults | options))
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def heal(log, partition=0):
    """Append until it works; return the position."""
    async with asyncio.timeout(20):
        while True:
            try:
                [position] = await log.append(IMAGES, [Record(b"k", b"healed", (), partition)])
            except (NotWrittenError, OutcomeUnknownError) as error:
                if error.settled is not None:
                    await error.settled
                await asyncio.sleep(0.05)
            else:
                return position
