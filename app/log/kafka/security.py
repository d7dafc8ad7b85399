"""How each connection to Kafka is secured: TLS, and who the gateway says that it is.

Hides that secrets and certificates may change while the gateway runs. aiokafka gives every new
connection what its client was made with; here `prepare` replaces that before each one connects. The
way there is the argument for a provider of tokens, which aiokafka hands to all connections,
whatever their mechanism.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.abc import AbstractTokenProvider

from app.connection_files import client_context, read_secret
from app.errors import ConfigurationError
from app.log.kafka import oauth
from app.log.kafka.security_settings import Mechanism
from app.read_again import ReadAgain
from app.section import variable

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from pydantic import SecretStr

    from app.log.kafka.settings import KafkaSettings

_PASSWORD_SETTINGS = ("sasl_username", "sasl_password", "sasl_password_file")
_OAUTH_SETTINGS = (
    "oauth_token_url",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_client_secret_file",
    "oauth_scope",
    "oauth_ca_file",
)
_TLS_SETTINGS = ("tls_ca_file", "tls_cert_file", "tls_key_file")


class Security(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is not typed
    """The security of every connection of a log, as the settings say.

    Raises:
        ConfigurationError: The settings do not fit together, or a file cannot be used.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        check(settings)
        self._settings = settings
        self._context: ReadAgain[ssl.SSLContext] | None = None
        if settings.security_protocol.is_encrypted:
            files = (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
            self._context = ReadAgain(
                [file for file in files if file], lambda: client_context(*files)
            )
        mechanism = settings.sasl_mechanism
        self._password = self._secret = None
        if mechanism is not None and mechanism.uses_password:
            self._password = _Secret(settings.sasl_password, settings.sasl_password_file)
        elif mechanism is Mechanism.OAUTHBEARER:
            self._secret = _Secret(settings.oauth_client_secret, settings.oauth_client_secret_file)
            client_context(settings.oauth_ca_file, None, None)
        elif mechanism is Mechanism.AWS_MSK_IAM:
            oauth.require_msk()
        self._tokens = oauth.Tokens(self._fetch)

    def options(self) -> dict[str, Any]:
        """Return the arguments of aiokafka's clients and connections."""
        settings = self._settings
        options: dict[str, Any] = {"security_protocol": str(settings.security_protocol)}
        if self._context is not None:
            options["ssl_context"] = self._context.current()
        if settings.sasl_mechanism is not None:
            is_token = not settings.sasl_mechanism.uses_password
            options["sasl_mechanism"] = "OAUTHBEARER" if is_token else str(settings.sasl_mechanism)
            options["sasl_plain_username"] = settings.sasl_username
            options["sasl_plain_password"] = self._password.current() if self._password else None
        if len(options) > 1:
            options["sasl_oauth_token_provider"] = self
        return options

    async def prepare(self, connection: Any) -> None:
        """Give a connection that is about to connect what the files hold now."""
        if self._context is not None and connection._ssl_context is not None:
            connection._ssl_context = await asyncio.to_thread(self._context.current)
        if self._password is not None:
            connection._sasl_plain_password = await asyncio.to_thread(self._password.current)

    async def token(self) -> str:
        """Return a token for OAUTHBEARER.

        Raises:
            TokenError: There is none.
        """
        return await self._tokens.get()

    def refused(self) -> None:
        """Report that a broker has refused the token."""
        self._tokens.forget()

    async def _fetch(self) -> oauth.Token:
        if self._secret is None:
            return await oauth.from_aws(self._settings)
        secret = await asyncio.to_thread(self._secret.current)
        return await oauth.from_server(self._settings, secret)


class _Secret:
    """A secret of a setting, or of a file that may change."""

    def __init__(self, given: SecretStr | None, file: Path | None) -> None:
        self._given = given.get_secret_value() if given else ""
        self._file = ReadAgain([file], lambda: read_secret(file)) if file else None

    def current(self) -> str:
        return self._file.current() if self._file else self._given


def check(settings: KafkaSettings) -> None:
    """Check that the settings fit together: one without effect is an error too.

    Raises:
        ConfigurationError: They do not.
    """
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    if not protocol.is_encrypted:
        _refuse(settings, _TLS_SETTINGS, f"{_named('security_protocol')}={protocol}")
    elif settings.tls_key_file and not settings.tls_cert_file:
        raise ConfigurationError(f"{_named('tls_key_file')} needs {_named('tls_cert_file')}.")
    if not protocol.signs_in:
        unused = ("sasl_mechanism", *_PASSWORD_SETTINGS, *_OAUTH_SETTINGS, "aws_region")
        _refuse(settings, unused, f"{_named('security_protocol')}={protocol}")
        return
    if mechanism is None:
        raise ConfigurationError(
            f"{_named('security_protocol')}={protocol} needs {_named('sasl_mechanism')}."
        )
    with_it = f"{_named('sasl_mechanism')}={mechanism}"
    if mechanism.uses_password:
        _refuse(settings, (*_OAUTH_SETTINGS, "aws_region"), with_it)
        _require(settings, ("sasl_username",), with_it)
        _require_one(settings, "sasl_password", with_it)
        return
    _refuse(settings, _PASSWORD_SETTINGS, with_it)
    if mechanism is Mechanism.AWS_MSK_IAM:
        _refuse(settings, _OAUTH_SETTINGS, with_it)
        _require(settings, ("aws_region",), with_it)
        return
    _refuse(settings, ("aws_region",), with_it)
    _require(settings, ("oauth_token_url", "oauth_client_id"), with_it)
    _require_one(settings, "oauth_client_secret", with_it)


def _refuse(settings: KafkaSettings, names: tuple[str, ...], with_it: str) -> None:
    if given := [_named(name) for name in names if getattr(settings, name) is not None]:
        raise ConfigurationError(f"{', '.join(given)} would have no effect with {with_it}.")


def _require(settings: KafkaSettings, names: tuple[str, ...], with_it: str) -> None:
    if lacking := [_named(name) for name in names if getattr(settings, name) is None]:
        raise ConfigurationError(f"{with_it} needs {' and '.join(lacking)}.")


def _require_one(settings: KafkaSettings, name: str, with_it: str) -> None:
    given = [getattr(settings, each) is not None for each in (name, f"{name}_file")]
    if given.count(True) != 1:
        raise ConfigurationError(
            f"{with_it} needs {_named(name)} or {_named(name)}_FILE, one of them."
        )


def _named(setting: str) -> str:
    return variable("kafka", setting)
