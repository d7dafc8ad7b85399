"""The process: a uvicorn server around the application.

Hides what uvicorn leaves open: it has no hook at the start of a shutdown, when streams must end,
and it raises the signal again at its end, so that a clean stop would look like a crash.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import signal
import socket
import sys
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import structlog
import uvicorn

from app.api.authority import is_loopback
from app.background import BackgroundJob
from app.codec.sandbox import hide
from app.errors import ConfigurationError
from app.read_again import ReadAgain
from app.section import variable
from app.server import phrases
from app.server.certificate import files_of, read_to_show
from app.server.connections import Connections
from app.server.descriptors import free_for_connections, raise_limit
from app.server.handshake import Handshake
from app.server.memory import giving_back
from app.server.protocol import HttpProtocol
from app.server.slices import Slices

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator

    from fastapi import FastAPI

    from app.server.settings import ServerSettings

logger = structlog.get_logger(__name__)

# Idle connections are kept a little longer than common proxies keep theirs (60 s).
_KEEP_ALIVE_SECONDS = 65
# The kernel accepts this much beyond what is on its way to a client. By default it accepts 4 MB,
# which were copied for every client that reads nothing.
_UNSENT_BYTES = 131_072
# Two files are looked at.
_CERTIFICATE_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(app: FastAPI, http: ServerSettings, destination: str, *, exposable: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        app: The application; its lifespan starts and stops here.
        http: Where to listen.
        destination: Where images are stored, for the banner.
        exposable: Whether an address that other machines can reach is allowed.

    Raises:
        ConfigurationError: The address is not allowed, or cannot be listened on, or the certificate
            cannot be used.
    """
    if not exposable and not is_loopback(http.host):
        raise ConfigurationError(
            f"{http.host} can be reached from other machines, and there is no API key yet. Make one"
            " with `imagegate keys new`, or listen on 127.0.0.1. With --insecure anyone can upload,"
            " read and delete."
        )
    # From other processes of its user, a codec worker that was taken over among them.
    hide()
    if find_spec("uvloop") is None:
        logger.info("uvloop_missing", advice="pip install 'imagegate[speed]' for a faster loop")
    contexts = _contexts(http)
    phrases.use()
    raise_limit()
    connections = Connections(http.max_connections, http.client_connections)
    plain = functools.partial(HttpProtocol, connections, Slices(), http)
    protocol: Callable[..., asyncio.Protocol] = plain
    if contexts is not None:
        protocol = functools.partial(Handshake, contexts, connections, http, plain)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Without any given, uvicorn would believe every client on this machine.
        proxy_headers=bool(http.proxies),
        forwarded_allow_ips=list(http.proxies),
        # uvicorn calls it as it would call a class.
        http=cast("type[HttpProtocol]", protocol),
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=http.grace_seconds,
        # It runs outside of uvicorn, so that a part that cannot start can say why.
        lifespan="off",
    )
    with (
        bind(http) as listener,
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        suppress(asyncio.CancelledError),
    ):
        text = banner(http, listener.getsockname()[1], destination)
        runner.run(_run(_Server(config, app), listener, connections, contexts, text))
    logger.info("stopped")
    return 0


def _contexts(http: ServerSettings) -> ReadAgain[ssl.SSLContext] | None:
    if (files := files_of(http)) is None:
        return None
    return ReadAgain(files, lambda: read_to_show(*files))


async def _run(
    server: _Server,
    listener: socket.socket,
    connections: Connections,
    contexts: ReadAgain[ssl.SSLContext] | None,
    text: str,
) -> None:
    app = server.app
    async with AsyncExitStack() as stack:
        with _cancelled_by_signals():
            await stack.enter_async_context(app.router.lifespan_context(app))
        jobs = [giving_back(), None if contexts is None else _reading_again(contexts)]
        for job in filter(None, jobs):
            job.start()
            stack.push_async_callback(job.stop)
        _limit(connections)
        # A full collection looked through all that was imported, 80 ms in which nothing else ran.
        gc.collect()
        gc.freeze()
        print(text, flush=True)  # noqa: T201
        await server.serve([listener])


def _reading_again(contexts: ReadAgain[ssl.SSLContext]) -> BackgroundJob:
    async def look() -> None:
        await asyncio.to_thread(contexts.current)

    return BackgroundJob(look, "certificate", _CERTIFICATE_SECONDS, rest_seconds=0)


def _limit(connections: Connections) -> None:
    """Lower the limit of connections to what the descriptors allow, now that all parts run."""
    if (free := free_for_connections()) < connections.limit:
        logger.warning(
            "connections_limited",
            wanted=connections.limit,
            allowed=free,
            advice="allow more descriptors: ulimit -n, LimitNOFILE, or nofile of the container",
        )
        connections.limit = free


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


def bind(http: ServerSettings) -> socket.socket:
    """Return a socket bound to the address; it listens once the application can answer.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            http.host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, kind))
            # As servers do: an earlier process's connections in TIME_WAIT would block the address.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform == "linux":
                # Accepted connections inherit it.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            listener.bind(address)
            stack.pop_all()
            return listener
    except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one
        raise ConfigurationError(
            f"cannot listen on {http.host}:{http.port}: {_reason(error)}. Choose another port with"
            f" --port or {variable('http', 'port')}; make run PORT=8081 works too."
        ) from error


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "not a host name"
    return str(error.strerror)


def banner(http: ServerSettings, port: int, destination: str) -> str:
    """Return the lines that the process prints once it listens."""
    host = f"[{http.host}]" if ":" in http.host else http.host
    url = f"{http.scheme}://{host}:{port}"
    return (
        f"imagegate listens on {url}\n"
        f"images go into {destination}\n"
        f"try: curl -F file=@img.jpg {url}/images"
    )
