"""The reason why no connection comes about, learnt by making one.

Hides how: aiokafka's clients say only that they found no broker, while a connection by itself
raises the cause. Where a broker just closes it, because it expects another protocol, the other ones
are tried, without credentials.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from app.log.kafka import refusals
from app.log.kafka.oauth import TokenError
from app.log.kafka.security_settings import Protocol

if TYPE_CHECKING:
    from app.log.kafka.refusals import RefusedError
    from app.log.kafka.security import Security
    from app.log.kafka.settings import KafkaSettings

# A broker on the same continent answers within a tenth of this.
_SECONDS = 5.0
# A mechanism that nobody has: the answer lists those that there are.
_NO_MECHANISM = "NONE"
# What connecting raises: asyncio, aiokafka, and its SCRAM for an answer that makes no sense.
_FAILURES = (KafkaError, OSError, TimeoutError, ValueError, AssertionError)


async def find_refusal(settings: KafkaSettings, security: Security) -> RefusedError | None:
    """Return why brokers refuse this client; None if they do not, or none can be reached.

    If one accepts it, those are tried that it names as the cluster's: their names may be others
    than those in their certificates.
    """
    hosts = [(host, port) for host, port, _ in collect_hosts(settings.bootstrap_servers)]
    attempts = [_Attempt(host, port, settings, security) for host, port in hosts]
    found = await asyncio.gather(*(attempt.find_refusal() for attempt in attempts))
    if not any(attempt.succeeded for attempt in attempts):
        return next(filter(None, found), None)
    advertised = {each for attempt in attempts for each in attempt.advertised} - set(hosts)
    refusals = (refusal_at(host, port, settings, security) for host, port in sorted(advertised))
    return next(filter(None, await asyncio.gather(*refusals)), None)


async def refusal_at(
    host: str, port: int, settings: KafkaSettings, security: Security
) -> RefusedError | None:
    """Return why one broker refuses this client; None if it does not, or cannot be reached."""
    return await _Attempt(host, port, settings, security).find_refusal()


class _Attempt:
    def __init__(self, host: str, port: int, settings: KafkaSettings, security: Security) -> None:
        self.succeeded = False
        self.advertised: set[tuple[str, int]] = set()
        self._host = host
        self._port = port
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._settings = settings
        self._security = security

    async def find_refusal(self) -> RefusedError | None:
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await self._ask(MetadataRequest([]), **self._security.options())
        except _FAILURES as error:
            return await self._explain(error)
        self.succeeded = True
        self.advertised = {(host, port) for _, host, port, *_ in answer.brokers}
        return None

    async def _ask(self, request: Any, **options: Any) -> Any:
        """Connect, send one request, and return the answer."""
        connection = await create_conn(
            self._host,
            self._port,
            client_id="imagegate-handshake",
            request_timeout_ms=int(_SECONDS * 1000),
            **options,
        )
        try:
            return await connection.send(request)
        finally:
            connection.close()

    async def _explain(self, error: BaseException) -> RefusedError | None:
        if isinstance(error, TimeoutError | ConnectionRefusedError | socket.gaierror | TokenError):
            return getattr(error, "refusal", None)
        if isinstance(error, SaslAuthenticationFailed):
            return refusals.wrong_credentials(self._address, self._settings)
        if isinstance(error, UnsupportedSaslMechanismError | IllegalSaslStateError):
            return await self._compare_mechanisms()
        if of_tls := refusals.of_tls(self._address, error, self._settings):
            return of_tls
        if isinstance(error, ValueError | AssertionError):
            return refusals.impostor(self._address)
        return await self._try_others()

    async def _compare_mechanisms(self) -> RefusedError:
        encrypted = self._settings.security_protocol.is_encrypted
        if not (offered := await self._mechanisms(encrypted=encrypted)):
            return self._other("has no mechanism of SASL", [], encrypted=encrypted)
        wanted = str(self._security.options()["sasl_mechanism"])
        return refusals.other_mechanism(self._address, wanted, offered)

    async def _try_others(self) -> RefusedError | None:
        """Find out which protocol the listener has, after it closed a connection of this one."""
        protocol = self._settings.security_protocol
        encrypted = protocol.is_encrypted
        if not protocol.signs_in and (offered := await self._mechanisms(encrypted=encrypted)):
            reason = f"requires to sign in by {', '.join(offered)}"
            return self._other(reason, offered, encrypted=encrypted)
        if encrypted and await self._speaks_plaintext():
            offered = await self._mechanisms(encrypted=False)
            return self._other("does not speak TLS", offered, encrypted=False)
        if not encrypted and await self._speaks_tls():
            offered = await self._mechanisms(encrypted=True)
            return self._other("speaks TLS", offered, encrypted=True)
        return None

    def _other(self, reason: str, offered: list[str], *, encrypted: bool) -> RefusedError:
        names = (
            (Protocol.SASL_SSL, Protocol.SSL)
            if encrypted
            else (Protocol.SASL_PLAINTEXT, Protocol.PLAINTEXT)
        )
        return refusals.other_protocol(self._address, reason, names[0 if offered else 1])

    async def _mechanisms(self, *, encrypted: bool) -> list[str]:
        """Return the mechanisms of SASL that the listener offers; empty if it has none."""
        options: dict[str, Any] = {"security_protocol": "SSL" if encrypted else "PLAINTEXT"}
        if encrypted:
            options["ssl_context"] = _unverified()
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await self._ask(SaslHandShakeRequest(_NO_MECHANISM), **options)
        except _FAILURES:
            return []
        return list(answer.enabled_mechanisms)

    async def _speaks_plaintext(self) -> bool:
        try:
            async with asyncio.timeout(_SECONDS):
                # It asks for versions of requests, which every listener answers.
                connection = await create_conn(self._host, self._port)
        except _FAILURES:
            return False
        connection.close()
        return True

    async def _speaks_tls(self) -> bool:
        try:
            async with asyncio.timeout(_SECONDS):
                _, writer = await asyncio.open_connection(self._host, self._port, ssl=_unverified())
        except _FAILURES:
            return False
        writer.transport.abort()
        return True


def _unverified() -> ssl.SSLContext:
    """Return a context for a look at a listener: nothing is sent that a stranger may not see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
