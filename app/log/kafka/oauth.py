"""Tokens for OAUTHBEARER: from a server of OpenID Connect, or signed for Amazon MSK.

Hides where they come from, and how long one is used: a token is requested when a connection needs
one, and again once four fifths of its time are over; until it expires, a refresh that fails leaves
it in use.

Sources: RFC 6749, section 4.4 (client credentials) and 5 (answers);
https://github.com/aws/aws-msk-iam-sasl-signer-python.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import httpx
from aiokafka.errors import KafkaError

from app.connection_files import client_context
from app.errors import ConfigurationError
from app.log.kafka import refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.log.kafka.refusals import RefusedError
    from app.log.kafka.settings import KafkaSettings

_USED_RATIO = 0.8
# A server may leave the time out (RFC 6749, section 5.1).
_UNSAID_SECONDS = 60.0
_FETCH_SECONDS = 10.0
# The statuses of a 4xx that may pass: too slow, and too many requests.
_PASSING = {408, 429}
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class TokenError(KafkaError):  # type: ignore[misc]  # aiokafka is not typed
    """There is no token now.

    Attributes:
        refusal: Set if there will be none until somebody changes something.
    """

    def __init__(self, said: str, refusal: RefusedError | None = None) -> None:
        super().__init__(said)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Token:
    """A token, with the times by the monotonic clock after which it is renewed, and expired."""

    text: str = field(repr=False)
    renew_at: float
    expires_at: float


class Tokens:
    """The token in use.

    Args:
        fetch: Requests a new one; raises a `TokenError`.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]]) -> None:
        self._fetch = fetch
        self._token: Token | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Return a token that has not expired.

        Raises:
            TokenError: There is none.
        """
        # All connections that wait share one request.
        async with self._lock:
            token, now = self._token, time.monotonic()
            if token is None or now >= token.renew_at:
                try:
                    token = self._token = await self._fetch()
                except TokenError:
                    if token is None or now >= token.expires_at:
                        raise
            return token.text

    def forget(self) -> None:
        """Request another at the next connection: a broker has refused this one."""
        self._token = None


def require_msk() -> None:
    """Check that the extra for MSK is installed.

    Raises:
        ConfigurationError: It is not.
    """
    if find_spec("aws_msk_iam_sasl_signer") is None:
        raise ConfigurationError(
            "IMAGEGATE_KAFKA__SASL_MECHANISM=AWS_MSK_IAM needs an extra that is not installed: pip"
            " install 'imagegate[msk]'."
        )


async def from_aws(settings: KafkaSettings) -> Token:
    """Sign a token with the process's identity of AWS."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - an extra
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    started = time.monotonic()
    try:
        text, expires_ms = await asyncio.to_thread(
            MSKAuthTokenProvider.generate_auth_token, settings.aws_region
        )
    # Where the SDK found no credentials, the signer asks None for its key, or finds it empty.
    except (BotoCoreError, AttributeError, ValueError) as error:
        refusal = refusals.no_aws_token(type(error).__name__)
        raise TokenError("no credentials of AWS", refusal) from error
    return _token(text, started, expires_ms / 1000 - time.time())


async def from_server(settings: KafkaSettings, secret: str) -> Token:
    """Request a token by client credentials."""
    url, started = settings.oauth_token_url or "", time.monotonic()
    form = {"grant_type": "client_credentials"}
    if settings.oauth_scope:
        form["scope"] = settings.oauth_scope
    # Encoded once more, as a name or a secret may have a colon (RFC 6749, section 2.3.1).
    auth = (quote_plus(settings.oauth_client_id or ""), quote_plus(secret))
    context = await asyncio.to_thread(client_context, settings.oauth_ca_file, None, None)
    try:
        async with httpx.AsyncClient(verify=context, timeout=_FETCH_SECONDS) as client:
            response = await client.post(url, data=form, auth=auth)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{url} gives no answer ({type(error).__name__})"
        raise TokenError(said, _untrusted(url, error)) from error
    return _read(response, settings, started)


def _untrusted(url: str, error: Exception) -> RefusedError | None:
    for each in refusals.causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return refusals.others_certificate(url, each, "oauth_ca_file")
    return None


def _read(response: httpx.Response, settings: KafkaSettings, started: float) -> Token:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    text, seconds = answer.get("access_token"), answer.get("expires_in", _UNSAID_SECONDS)
    if response.is_success and isinstance(text, str) and text.isascii() and text.isprintable():
        return _token(text, started, _seconds(seconds))
    code = answer.get("error")
    # Texts of the server are not quoted: they might repeat what was sent.
    code = code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
    refusal = refusals.no_token(settings, response.status_code, code)
    if response.is_server_error or response.status_code in _PASSING:
        raise TokenError(refusal.found)
    raise TokenError(refusal.found, refusal)


def _seconds(given: object) -> float:
    try:
        # Some servers send the number as text.
        return max(float(given), 0.0)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return _UNSAID_SECONDS


def _token(text: str, started: float, seconds: float) -> Token:
    return Token(text, started + seconds * _USED_RATIO, started + seconds)
