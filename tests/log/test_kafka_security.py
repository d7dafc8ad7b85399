"""Settings of security that do not fit together, files that cannot be used, and tokens."""

import asyncio
import base64
import os
import time

import pytest

from app.connection_files import client_context, read_secret
from app.errors import ConfigurationError
from app.log.kafka.handshake import find_refusal
from app.log.kafka.oauth import Token, TokenError, Tokens, from_server
from app.log.kafka.security import Security
from app.log.kafka.settings import KafkaSettings
from app.read_again import ReadAgain
from dev.kafka.ports import free_port
from tests.support.authority import DAY, NOW, Authority, Issuer
from tests.support.secured import server_context
from tests.support.token_server import SECRET, serving

NAMED = {"sasl_username": "me", "sasl_password": "hidden"}
SCRAM = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", **NAMED}
OAUTH = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "OAUTHBEARER",
    "oauth_token_url": "https://issuer.example/token",
    "oauth_client_id": "gateway",
    "oauth_client_secret": "hidden",
}
MSK = {"security_protocol": "SASL_SSL", "sasl_mechanism": "AWS_MSK_IAM", "aws_region": "eu-west-1"}


def secure(**given):
    return Security(KafkaSettings(bootstrap_servers="broker:9092", **given))


class TestSettings:
    @pytest.mark.parametrize("given", [{}, SCRAM, OAUTH, MSK, {"security_protocol": "SSL"}])
    def test_complete_ones_are_allowed(self, given):
        secure(**given)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (NAMED, "SASL_USERNAME, IMAGEGATE_KAFKA__SASL_PASSWORD would have no effect with"),
            ({"tls_ca_file": "/ca.pem"}, "TLS_CA_FILE would have no effect with"),
            ({"security_protocol": "SASL_SSL"}, "=SASL_SSL needs IMAGEGATE_KAFKA__SASL_MECHANISM"),
            (SCRAM | {"sasl_username": None}, "needs IMAGEGATE_KAFKA__SASL_USERNAME"),
            (SCRAM | {"sasl_password": None}, "or IMAGEGATE_KAFKA__SASL_PASSWORD_FILE, one of"),
            (SCRAM | {"sasl_password_file": "/p"}, "or IMAGEGATE_KAFKA__SASL_PASSWORD_FILE, one"),
            (SCRAM | {"oauth_scope": "kafka"}, "OAUTH_SCOPE would have no effect with"),
            (SCRAM | {"tls_key_file": "/k.pem"}, "needs IMAGEGATE_KAFKA__TLS_CERT_FILE"),
            (OAUTH | {"sasl_username": "me"}, "SASL_USERNAME would have no effect with"),
            (OAUTH | {"oauth_client_id": None}, "needs IMAGEGATE_KAFKA__OAUTH_CLIENT_ID"),
            (OAUTH | {"aws_region": "eu-west-1"}, "AWS_REGION would have no effect with"),
            (MSK | {"aws_region": None}, "needs IMAGEGATE_KAFKA__AWS_REGION"),
            (MSK | {"oauth_scope": "kafka"}, "OAUTH_SCOPE would have no effect with"),
        ],
    )
    def test_those_that_do_not_fit_together_are_an_error_that_names_them(self, given, said):
        with pytest.raises(ConfigurationError) as caught:
            secure(**given)
        assert said in caught.value.detail
        assert "hidden" not in caught.value.detail

    def test_msk_without_its_extra_is_an_error_that_names_it(self, monkeypatch):
        monkeypatch.setattr("app.log.kafka.oauth.find_spec", lambda _: None)
        with pytest.raises(ConfigurationError, match=r"pip install 'imagegate\[msk\]'"):
            secure(**MSK)

    def test_no_secret_is_in_the_text_of_the_settings(self):
        for given in (SCRAM, OAUTH):
            assert "hidden" not in repr(KafkaSettings(**given))


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "said"),
        [(None, "No such file"), (b"\n", "is empty"), (b"\xff", "is not UTF-8")],
    )
    def test_a_password_file_that_cannot_be_used_is_an_error(self, tmp_path, content, said):
        file = tmp_path / "password"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigurationError, match=said):
            secure(**SCRAM | {"sasl_password": None, "sasl_password_file": file})

    def test_a_pipe_in_its_place_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "password")
        with pytest.raises(ConfigurationError, match="not a regular file"):
            read_secret(tmp_path / "password")

    def test_spaces_belong_to_a_password_and_its_line_end_does_not(self, tmp_path):
        (tmp_path / "password").write_bytes(b" a b \r\n")
        assert read_secret(tmp_path / "password") == " a b "

    def test_files_that_are_no_certificates_are_an_error(self, tmp_path):
        authority = Authority(tmp_path / "ca.pem")
        cert = authority.issue(tmp_path / "cert.pem", "me")
        other = authority.issue(tmp_path / "other.pem", "me")
        (tmp_path / "empty").touch()
        with pytest.raises(ConfigurationError, match="has no certificates"):
            client_context(tmp_path / "empty", None, None)
        with pytest.raises(ConfigurationError, match="is not the key of the certificate"):
            client_context(None, cert, other)
        with pytest.raises(ConfigurationError, match="No such file"):
            client_context(None, tmp_path / "none", None)

    def test_a_file_that_changes_is_read_again_and_the_last_good_value_stays(self, tmp_path):
        file = tmp_path / "password"
        file.write_text("one")
        value = ReadAgain([file], lambda: read_secret(file))
        assert value.current() == "one"
        file.write_text("")
        assert value.current() == "one"
        file.unlink()
        assert value.current() == "one"
        file.write_text("three")
        assert value.current() == "three"


class TestTokens:
    async def test_a_token_is_renewed_before_it_expires_and_used_until_then(self, monkeypatch):
        now, fetched, fail = 0.0, 0, False
        monkeypatch.setattr("app.log.kafka.oauth.time.monotonic", lambda: now)

        async def fetch():
            nonlocal fetched
            fetched += 1
            if fail:
                raise TokenError("away")
            return Token(f"token {fetched}", now + 80, now + 100)

        tokens = Tokens(fetch)
        assert [await tokens.get(), await tokens.get()] == ["token 1", "token 1"]
        now = 80.0
        assert await tokens.get() == "token 2"
        now, fail = 170.0, True
        assert await tokens.get() == "token 2"
        now = 180.0
        with pytest.raises(TokenError):
            await tokens.get()
        fail = False
        assert await tokens.get() == "token 5"
        tokens.forget()
        assert await tokens.get() == "token 6"

    def test_the_text_of_a_token_is_not_shown(self):
        assert "secret" not in repr(Token("secret", 1, 2))


class TestHandshake:
    async def test_a_certificate_of_a_broker_that_has_expired_is_named(self, tmp_path):
        authority = Authority(tmp_path / "ca.pem")
        expired = authority.issue(tmp_path / "broker.pem", "broker", until=NOW - DAY)
        tls = server_context(expired)
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            settings = KafkaSettings(
                bootstrap_servers=f"127.0.0.1:{port}",
                security_protocol="SSL",
                tls_ca_file=authority.file,
            )
            refusal = await find_refusal(settings, Security(settings))
        assert (
            refusal.found == f"the certificate of 127.0.0.1:{port} has expired, or is not valid yet"
        )

    async def test_a_broker_that_is_away_is_no_refusal(self):
        settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()},broker.invalid:9092")
        assert await find_refusal(settings, Security(settings)) is None


class TestTokenServer:
    @pytest.fixture
    def server(self, tmp_path):
        with serving(Issuer(tmp_path / "jwks.json")) as server:
            yield server

    async def fetch(self, server):
        settings = KafkaSettings(security_protocol="SASL_SSL", **server.settings())
        return await from_server(settings, SECRET)

    async def test_a_token_lives_as_long_as_its_server_says(self, server):
        token = await self.fetch(server)
        now = time.monotonic()
        assert now + 200 < token.renew_at < now + 240 < token.expires_at <= now + 300

    @pytest.mark.parametrize("seconds", [b"", b', "expires_in": "soon"', b', "expires_in": null'])
    async def test_a_token_without_a_time_is_used_for_a_minute(self, server, seconds):
        server.answer = 200, b'{"access_token": "t"%s}' % seconds
        token = await self.fetch(server)
        assert token.text == "t"
        assert token.expires_at <= time.monotonic() + 60

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (400, b'{"error": "invalid_scope"}'),
            (401, b"{}"),
            (404, b"<html>"),
            (200, b"[]"),
            (200, b'{"access_token": "a\\u0001b"}'),
            (302, b""),
        ],
    )
    async def test_an_answer_without_a_token_is_a_refusal(self, server, status, body):
        server.answer = status, body
        with pytest.raises(TokenError) as caught:
            await self.fetch(server)
        assert f"({status}" in caught.value.refusal.found

    async def test_a_text_of_the_server_is_not_repeated(self, server):
        server.answer = (
            400,
            b'{"error": "%s", "error_description": "%s"}' % ((SECRET.encode(),) * 2),
        )
        with pytest.raises(TokenError) as caught:
            await self.fetch(server)
        assert SECRET not in caught.value.refusal.detail

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_a_server_in_trouble_is_no_refusal(self, server, status):
        server.answer = status, b""
        with pytest.raises(TokenError) as caught:
            await self.fetch(server)
        assert caught.value.refusal is None


class TestMsk:
    @pytest.fixture(autouse=True)
    def no_identity(self, monkeypatch, tmp_path):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    async def test_a_token_is_signed_with_the_identity_of_the_process(self, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        text = await secure(**MSK).token()
        url = base64.urlsafe_b64decode(text + "==").decode()
        assert url.startswith(
            "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect"
        )
        assert "AKIDEXAMPLE" in url

    async def test_a_process_without_an_identity_is_told_so(self):
        with pytest.raises(TokenError) as caught:
            await secure(**MSK).token()
        assert "there are no credentials of AWS" in caught.value.refusal.found

    def test_aiokafka_signs_in_by_oauthbearer(self):
        assert secure(**MSK).options()["sasl_mechanism"] == "OAUTHBEARER"
