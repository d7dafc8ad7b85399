"""A response whose body comes in pieces, and ends with its client.

Hides how it is noticed that the client has left: by a task that waits for it. Starlette's
`StreamingResponse` sends from a group of two tasks, which costs an eighth of a cached download of
500 KB (docs/performance.md).
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import Receive, Scope, Send


class StreamedBytes(Response):
    """An answer with these pieces as its body, closed at the end; it has a `Content-Length`."""

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], status_code: int, headers: Mapping[str, str]
    ) -> None:
        # Without `super().__init__`, which renders a body.
        self._pieces = pieces
        self.status_code = status_code
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it, unless the client leaves."""
        sending = asyncio.current_task()
        assert sending is not None  # noqa: S101 - a coroutine runs in a task
        is_sending, has_left = True, False

        def stop(_: object) -> None:
            nonlocal has_left
            if is_sending:
                has_left = True
                sending.cancel()

        leaving = asyncio.create_task(until_left(receive))
        leaving.add_done_callback(stop)
        try:
            await self._send(send)
        except asyncio.CancelledError:
            # Whoever else cancels it is obeyed.
            if not has_left or sending.uncancel():
                raise
        finally:
            is_sending = False
            leaving.cancel()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_left(receive: Receive) -> None:
    """Wait until the client has left, or the answer is complete."""
    while (await receive())["type"] != "http.disconnect":
        pass
