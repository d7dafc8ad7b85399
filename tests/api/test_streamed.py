"""A body in pieces: it ends with its client, and closes what it is read from."""

import asyncio

import pytest

from app.api.streamed import StreamedBytes


class Client:
    """Takes pieces, of which it waits for `many`; then it leaves, or does not read on."""

    def __init__(self, many=10, *, leaves=True):
        self.bodies, self.closed, self.stalled = [], 0, asyncio.Event()
        self._many, self._leaves = many, leaves
        self._left = asyncio.Event()
        self._received = 0

    async def receive(self):
        self._received += 1
        if self._received == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            return
        self.bodies.append(message)
        if len(self.bodies) == self._many:
            self.stalled.set()
            if self._leaves:
                self._left.set()
            await asyncio.Event().wait()

    async def pieces(self, many):
        try:
            for number in range(many):
                yield b"%d" % number
        finally:
            self.closed += 1

    async def answer(self, many):
        response = StreamedBytes(self.pieces(many), 206, {"content-length": "9"})
        await response({"type": "http"}, self.receive, self.send)


async def test_every_piece_is_sent_and_then_the_end():
    client = Client()
    await client.answer(3)
    assert [each["body"] for each in client.bodies] == [b"0", b"1", b"2", b""]
    assert [each["more_body"] for each in client.bodies] == [True, True, True, False]
    assert client.closed == 1
    # Nothing is left that waits for a client who may leave later.
    assert await others() == 0


async def test_a_client_that_leaves_ends_it_quietly():
    client = Client(many=2)
    await client.answer(5)
    assert [each["body"] for each in client.bodies] == [b"0", b"1"]
    assert client.closed == 1
    assert asyncio.current_task().cancelling() == 0


async def test_one_that_leaves_at_the_last_moment_cancels_nothing_later():
    client = Client()

    async def send(message):
        await Client.send(client, message)
        if not message.get("more_body", True):
            client._left.set()

    client.send = send
    await client.answer(1)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_stops_the_server_is_obeyed():
    client = Client(many=2, leaves=False)
    task = asyncio.create_task(client.answer(5))
    await client.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.closed == 1
    assert await others() == 0


async def test_an_error_of_the_source_is_raised():
    async def pieces():
        yield b"0"
        raise LookupError

    client = Client()
    client.pieces = lambda _: pieces()
    with pytest.raises(LookupError):
        await client.answer(1)
    assert await others() == 0


async def others():
    """How many other tasks run, once those that were cancelled have ended."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return len(asyncio.all_tasks() - {asyncio.current_task()})
