"""The process: a uvicorn server around the application.

Hides what uvicorn leaves open: it has no hook at the start of a shutdown, when streams must end,
and it raises the signal again at its end, so that a clean stop would look like a crash.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog
import uvicorn

from app import settings as settings_module
from app import telemetry
from app.errors import ConfigurationError
from app.http_protocol import HttpProtocol
from app.main import create_app

if TYPE_CHECKING:
    from collections.abc import Generator

    from fastapi import FastAPI

    from app.settings import HttpSettings, Settings

logger = structlog.get_logger(__name__)

# Idle connections are kept a little longer than common proxies keep theirs (60 s).
_KEEP_ALIVE_SECONDS = 65
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(settings: Settings, *, insecure: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises:
        ConfigurationError: It cannot start like this.
    """
    if not insecure and not settings_module.is_loopback(settings.http.host):
        raise ConfigurationError(
            f"{settings.http.host} is reached from other machines, and there is no authentication:"
            " anyone could upload, read and delete. Listen on 127.0.0.1, or add --insecure."
        )
    telemetry.configure(settings.log_level)
    if find_spec("uvloop") is None:
        logger.info("uvloop_missing", advice="pip install 'imagegate[speed]' for a faster loop")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=HttpProtocol,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.http.grace_seconds,
        # Outside of uvicorn, a part that cannot start says so itself.
        lifespan="off",
    )
    with (
        _bind(settings.http) as listener,
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        suppress(asyncio.CancelledError),
    ):
        runner.run(_run(_Server(config, app), listener, settings))
    logger.info("stopped")
    return 0


async def _run(server: _Server, listener: socket.socket, settings: Settings) -> None:
    app = server.app
    async with AsyncExitStack() as stack:
        with _cancelled_by_signals():
            await stack.enter_async_context(app.router.lifespan_context(app))
        print(_banner(settings, listener), flush=True)  # noqa: T201
        await server.serve([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self.app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logger.info("draining")
        self.app.state.gateway.drain()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _cancelled_by_signals() -> Generator[None, None, None]:
    """Let a signal end the start: the search for a broker lasts half a minute.

    Without this, process 1 of a container would ignore it (pid_namespaces(7)).
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    for number in _SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _bind(http: HttpSettings) -> socket.socket:
    """Return a socket that has its address, and listens once there is something to answer."""
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            http.host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, kind))
            # As servers do: connections of the process before, in TIME_WAIT, are no hindrance.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            stack.pop_all()
            return listener
    except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one
        raise ConfigurationError(
            f"{http.host}:{http.port} cannot be listened on: {_reason(error)}. Another port is"
            " named by --port or IMAGEGATE_HTTP__PORT."
        ) from error


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "this is no host name"
    return str(error.strerror)


def _banner(settings: Settings, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    where = (
        f"the topics {settings.kafka.topic_prefix}images and {settings.kafka.topic_prefix}"
        f"image-events on {settings.kafka.bootstrap_servers}"
        if settings.kafka.bootstrap_servers
        else f"the embedded log in {settings.data_dir.absolute()}"
    )
    return (
        f"imagegate listens on http://{host}:{port}\n"
        f"images go into {where}\n"
        f"try: curl -F file=@img.jpg http://{host}:{port}/images"
    )
