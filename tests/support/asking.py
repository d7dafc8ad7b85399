"""One request through ASGI, with bytes that no client library sends, of an endless answer too."""

import asyncio


async def ask(client, route, query=b"", headers=()):
    """Return the status and the body, of an endless answer its first piece."""
    method, path = route
    started, body, ended = [], bytearray(), asyncio.Event()
    messages = iter([{"type": "http.request", "body": b"x" if method == "POST" else b""}])

    async def receive():
        try:
            return next(messages)
        except StopIteration:
            await ended.wait()
            return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            started.append(message)
        else:
            body.extend(message.get("body", b""))
            if not message.get("more_body") or path.startswith("/streams"):
                ended.set()

    named = {name for name, _ in headers}
    common = [(b"host", b"localhost"), (b"content-length", b"1" if method == "POST" else b"0")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [*((n, v) for n, v in common if n not in named), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    running = asyncio.create_task(client._transport.app(scope, receive, send))
    try:
        await asyncio.wait_for(ended.wait(), 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return started[0]["status"], bytes(body)


def route_of(name, image_id):
    method, path = name.split()
    if method == "DELETE":
        image_id = "a" * 32
    return method, path.replace("{image_id}", image_id).replace("{path}", "index.js")
