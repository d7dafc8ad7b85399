"""Batches: many images in one body, each stored as if it had come alone.

Hides how many of them are in work at once. The next one is read while those before it are developed
and published, as long as the client's share of the memory, its limits and the workers have room for
it; otherwise the body is not read on. So memory is that of the images in work, whatever the batch
has. An image that waits for memory waits for images that need none, so a full budget delays a batch
and cannot hold it up for ever.
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from app.errors import GatewayError, InternalError
from app.ingest.convoy import Convoy
from app.ingest.intake import COPIES
from app.ingest.upload import StoredUpload
from app.limits.meters import begin_another, pass_image

if TYPE_CHECKING:
    from app.budget import ByteBudget
    from app.ingest.convoy import Place
    from app.ingest.ingest import Ingest
    from app.ingest.upload import BatchImage, BatchSource
    from app.log import Append

# Twice as many as keep a worker busy with images of 50 KB, the others being published. Large images
# are fewer: they fill the share of the memory first.
_IMAGES_PER_WORKER = 8

Outcome: TypeAlias = StoredUpload | GatewayError


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What became of each image, in the order of the parts, and the reason if it broke off."""

    outcomes: list[Outcome]
    broken: GatewayError | None


class Batches:
    """Stores batches.

    Args:
        ingest: Stores each image.
        append: Appends the records of several.
        budget: The memory for uploads.
        workers: How many images are developed at once.
    """

    def __init__(self, ingest: Ingest, append: Append, budget: ByteBudget, workers: int) -> None:
        self._ingest = ingest
        self._append = append
        self._budget = budget
        self._most = _IMAGES_PER_WORKER * workers

    async def store(self, source: BatchSource) -> StoredBatch:
        """Store the images of a batch; one that fails leaves the others as they are.

        Raises:
            RequestError, UnavailableError: No image can be stored now; nothing was read.
        """
        convoy = Convoy(self._append)
        work: list[asyncio.Task[Outcome]] = []
        try:
            while source.broken is None and source.may_have_more():
                await self._receive(source, convoy, work)
            await source.finish()
            broken = source.broken
            if broken is not None and not isinstance(broken, GatewayError):
                raise broken
            outcomes = await _finished(source, work)
        finally:
            # If the client has left: images that are being published are not stopped by this.
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        return StoredBatch(outcomes, broken)

    async def _receive(
        self, source: BatchSource, convoy: Convoy, work: list[asyncio.Task[Outcome]]
    ) -> None:
        """Receive an image, and leave it in work; there may be none."""
        image = source.next()
        await self._room(source.client, image.max_bytes, work)
        task = asyncio.create_task(self._store(image, convoy.place(), len(work)))
        work.append(task)
        steps: set[asyncio.Future[Any]] = {task, image.received}
        await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
        if not image.received.done():
            if not source.has_begun:
                raise _error_of(task)
            await source.pass_over(image)
        if not image.exists:
            work.pop()
        elif len(work) > 1:
            await pass_image()

    async def _store(self, image: BatchImage, place: Place, position: int) -> Outcome:
        """Store the image at a position, counted from 0."""
        try:
            return await self._ingest.store(image, place)
        except GatewayError as error:
            _let_go(error)
            return error
        # Our own mistake with one image is no reason to lose the others.
        except Exception as error:  # noqa: BLE001
            _let_go(error)
            mistake = InternalError(f"The gateway made a mistake with image {position}.")
            mistake.__cause__ = error
            return mistake
        finally:
            place.leave()

    async def _room(self, client: str, max_bytes: int, work: list[asyncio.Task[Outcome]]) -> None:
        """Wait, while images are in work, until there is room for another beside them."""
        while running := [task for task in work if not task.done()]:
            if len(running) < self._most and self._budget.has_room(client, COPIES * max_bytes):
                if work[-1].done():
                    # The request itself counts as one upload.
                    return
                if (end := begin_another(max_bytes)) is not None:
                    work[-1].add_done_callback(lambda _: end())
                    return
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


async def _finished(source: BatchSource, work: list[asyncio.Task[Outcome]]) -> list[Outcome]:
    """Return all outcomes, unless the client leaves: then nobody wants them."""
    # Exceptions are results here: nobody retrieves those of work that a leaving client ends.
    everything = asyncio.gather(*work, return_exceptions=True)
    if source.broken is not None:
        # What is left of the body is not read, and so nothing tells whether the client is there.
        await everything
        return [task.result() for task in work]
    left = asyncio.create_task(source.left())
    try:
        ends: set[asyncio.Future[Any]] = {left, everything}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not everything.done():
            left.result()
        return [task.result() for task in work]
    finally:
        left.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await left


def _let_go(error: BaseException) -> None:
    """Drop the image that the traceback of its error holds: the error is kept until the end."""
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        each = errors.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            errors += (each.__cause__, each.__context__)


def _error_of(task: asyncio.Task[Outcome]) -> GatewayError:
    outcome = task.result()
    assert isinstance(outcome, GatewayError)  # noqa: S101 - nothing of it had come
    return outcome
