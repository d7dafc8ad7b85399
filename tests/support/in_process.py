"""A gateway in the process of the tests, reached through ASGI, and a check of its problems."""

from contextlib import asynccontextmanager

import httpx

from app import settings
from app.main import create_app
from tests.support.described import checked_async


@asynccontextmanager
async def in_process(data_dir, *, insecure=False, **sections):
    """Run a gateway in this process, on the embedded log; yields a client of it.

    The parts of the gateway are at `client.gateway`. A response arrives whole, so streams are
    tested against a process: see tests/process/.
    """
    sections = {"imaging": {"workers": 1}} | sections
    app = create_app(settings.load(data_dir=data_dir, **sections), insecure=insecure)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", event_hooks=checked_async()
        ) as client:
            client.gateway = app.state.gateway
            client.app_access = app.state.access
            await client.gateway.feed.caught_up()
            yield client


def problem(response, status, code):
    """Check that a response is this problem; returns its JSON."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == response.headers["x-request-id"]
    return body
