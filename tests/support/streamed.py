"""The beginning of an answer without end, from a gateway in this process."""

import asyncio


async def beginning(client, path, headers, is_enough, held=None):
    """GET a path; return the status, and the body as soon as `is_enough` says of it.

    Once something has come, no more is taken before `held` is set.
    """
    began, path, query = [], *path.partition("?")[::2]
    body, enough = bytearray(), asyncio.Event()

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        if message["type"] == "http.response.start":
            began.append(message["status"])
        else:
            if body and held is not None:
                await held.wait()
            body.extend(message.get("body", b""))
            if is_enough(bytes(body)) or not message.get("more_body"):
                enough.set()

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (name.encode(), value.encode())
            for name, value in ({"host": "localhost"} | headers).items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    running = asyncio.create_task(client._transport.app(scope, receive, send))
    try:
        await asyncio.wait_for(enough.wait(), 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return began[0], bytes(body)
