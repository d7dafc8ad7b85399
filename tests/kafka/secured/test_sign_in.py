"""Each way to connect to a secured broker works, and each refusal is said with its cause."""

import json
import time

import httpx
import pytest
from structlog.testing import capture_logs

from app.cli import main as cli
from app.errors import ConfigurationError
from app.log import IMAGES, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.refusals import RefusedError
from app.log.kafka.settings import KafkaSettings
from app.telemetry import logs
from tests.support.checker import CHUNKED, SMALL
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_logs import new_prefix
from tests.support.secured import PASSWORD, environment, server_context
from tests.support.token_server import SECRET, serving

pytestmark = pytest.mark.apache_kafka

# Far more than a refusal takes, and less than the search for a broker (30 s).
AT_ONCE_SECONDS = 15
WRONG = "wr0ng password"


async def use(settings):
    """Start a log, and write and read a record."""
    log = KafkaLog(KafkaSettings(topic_prefix=new_prefix(), partitions=2, producers=1, **settings))
    await log.start()
    try:
        [position] = await log.append(IMAGES, [Record(b"key", b"value")])
        assert (await log.read(IMAGES, position)).record.value == b"value"
    finally:
        await log.stop()


async def refusal(settings):
    started = time.monotonic()
    with pytest.raises(RefusedError) as caught:
        await use(settings)
    assert time.monotonic() - started < AT_ONCE_SECONDS
    assert caught.value.remedy
    for secret in (PASSWORD, WRONG, SECRET):
        assert secret not in caught.value.detail
    return caught.value.found


class TestEachWay:
    def test_a_gateway_stores_and_serves_images_by_sasl_ssl_and_scram(self, secured, new_gateway):
        gateway = new_gateway(**environment(secured.settings(topic_prefix=new_prefix())))
        with gateway.client() as client:
            stored = [client.post("/images", content=data).json() for data in (*SMALL, CHUNKED)]
            for image in stored:
                assert client.get(image["url"]).status_code == httpx.codes.OK
            assert client.delete(stored[0]["url"]).status_code == httpx.codes.NO_CONTENT
            assert len(client.get("/images").json()["images"]) == len(stored) - 1
        assert gateway.terminate() == 0
        assert gateway.mistakes() == []
        assert PASSWORD not in "".join(gateway.output)

    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    async def test_passwords_work_by_each_mechanism(self, secured, mechanism):
        await use(secured.settings(sasl_mechanism=mechanism))

    async def test_sasl_works_without_tls(self, secured):
        await use(secured.settings("CLEAR"))

    async def test_a_password_may_be_in_a_file(self, secured, tmp_path):
        file = tmp_path / "password"
        file.write_text(PASSWORD + "\n")
        await use(secured.settings(sasl_password_file=file))

    async def test_mutual_tls_works_with_the_key_in_the_same_file(self, secured):
        await use(secured.settings("MTLS", tls_cert_file=secured.client_file))

    async def test_mutual_tls_works_with_the_key_in_a_file_of_its_own(self, secured, tmp_path):
        key, cert = secured.client_file.read_text().split("-----BEGIN CERTIFICATE", 1)
        (tmp_path / "key.pem").write_text(key)
        (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE" + cert)
        files = {"tls_cert_file": tmp_path / "cert.pem", "tls_key_file": tmp_path / "key.pem"}
        await use(secured.settings("MTLS", **files))

    async def test_one_token_of_the_token_server_serves_all_connections(
        self, secured, token_server
    ):
        await use(secured.settings(**token_server.settings()))
        assert token_server.forms == [
            {"grant_type": ["client_credentials"], "scope": ["kafka images"]}
        ]

    def test_no_secret_is_logged_at_any_level(self, secured, token_server, new_gateway):
        settings = secured.settings(**token_server.settings(), topic_prefix=new_prefix())
        gateway = new_gateway(**environment(settings), IMAGEGATE_LOG_LEVEL="debug")
        assert gateway.terminate() == 0
        output = "".join(gateway.output)
        token = token_server.issuer.token("oauth").partition(".")[0]
        for secret in (SECRET, token, "HTTP Request"):
            assert secret not in output


class TestRefusals:
    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
    async def test_a_wrong_password(self, secured, mechanism):
        found = await refusal(secured.settings(sasl_mechanism=mechanism, sasl_password=WRONG))
        assert f"by {mechanism}: the name or the password is wrong" in found

    async def test_an_authority_that_is_not_known(self, secured):
        found = await refusal(secured.settings(tls_ca_file=secured.stranger.file))
        assert "is of an authority that is not known here" in found

    async def test_a_broker_by_a_name_that_its_certificate_does_not_have(self, secured):
        servers = f"localhost:{secured.ports['SASL']}"
        found = await refusal(secured.settings(bootstrap_servers=servers))
        assert found == f"the certificate of {servers} is for another name"

    async def test_a_broker_that_advertises_a_name_that_its_certificate_does_not_have(
        self, secured
    ):
        found = await refusal(secured.settings("ODD"))
        assert found == f"the certificate of localhost:{secured.ports['ODD']} is for another name"

    async def test_a_missing_certificate_of_the_gateway(self, secured):
        found = await refusal(secured.settings("MTLS"))
        assert "requires a certificate of the gateway, which has none" in found

    async def test_a_certificate_of_the_gateway_that_has_expired(self, secured):
        found = await refusal(secured.settings("MTLS", tls_cert_file=secured.expired_file))
        assert f"refuses the certificate in {secured.expired_file}: it has expired, or" in found

    async def test_a_certificate_of_the_gateway_from_another_authority(self, secured, tmp_path):
        file = secured.stranger.issue(tmp_path / "client.pem", "mtls-gateway")
        found = await refusal(secured.settings("MTLS", tls_cert_file=file))
        assert f"refuses the certificate in {file}" in found

    async def test_a_mechanism_that_the_listener_does_not_offer(self, secured):
        found = await refusal(secured.settings("CLEAR", sasl_mechanism="SCRAM-SHA-256"))
        assert "does not offer SCRAM-SHA-256, but SCRAM-SHA-512, PLAIN" in found

    @pytest.mark.parametrize(
        ("listener", "protocol", "said"),
        [
            ("CLEAR", "PLAINTEXT", "requires to sign in by SCRAM-SHA-512, PLAIN"),
            ("SASL", "SSL", "requires to sign in by SCRAM-SHA-512, PLAIN, SCRAM-SHA-256"),
            ("MTLS", "PLAINTEXT", "speaks TLS"),
            ("SASL", "SASL_PLAINTEXT", "speaks TLS"),
            ("INTERNAL", "SSL", "does not speak TLS"),
            ("CLEAR", "SASL_SSL", "does not speak TLS"),
            ("INTERNAL", "SASL_PLAINTEXT", "has no mechanism of SASL"),
        ],
    )
    async def test_a_listener_of_another_protocol(self, secured, listener, protocol, said):
        settings = secured.settings("SASL" if protocol.startswith("SASL") else "INTERNAL")
        settings |= {
            "bootstrap_servers": secured.address(listener),
            "security_protocol": protocol,
            "tls_ca_file": secured.ca if protocol.endswith("SSL") else None,
        }
        assert said in await refusal(settings)

    @pytest.mark.parametrize("change", [{"audience": "others"}, {"seconds": -200}])
    async def test_a_token_that_the_broker_refuses(self, secured, token_server, change):
        for name, value in change.items():
            setattr(token_server, name, value)
        found = await refusal(secured.settings(**token_server.settings()))
        assert f"refuses the token of {token_server.url}" in found

    async def test_a_secret_that_the_token_server_refuses(self, secured, token_server):
        settings = secured.settings(**token_server.settings(oauth_client_secret=WRONG))
        found = await refusal(settings)
        assert found.endswith("gives no token to the client gate:way (401 invalid_client)")

    async def test_a_token_server_of_an_authority_that_is_not_known(self, secured, tmp_path):
        file = secured.authority.issue(tmp_path / "tokens.pem", "tokens")
        with serving(secured.issuer, server_context(file)) as server:
            settings = secured.settings(**server.settings())
            await use(settings | {"oauth_ca_file": secured.ca})
            found = await refusal(settings | {"oauth_ca_file": secured.stranger.file})
        assert "is of an authority that is not known here" in found

    async def test_a_token_server_that_is_away_is_waited_for_and_named(self, secured, token_server):
        token_server.answer = 503, b""
        settings = secured.settings(**token_server.settings(), connect_timeout_seconds=1)
        with (
            pytest.raises(ConfigurationError, match=r"did not answer within 1 s.*The last error"),
            capture_logs() as logs,
        ):
            await use(settings)
        assert [each["event"] for each in logs].count("kafka_awaited") == 1
        assert len(token_server.forms) > 1


class TestCommands:
    def test_the_gateway_does_not_start_and_says_why_at_once(self, secured, tmp_path):
        settings = environment(secured.settings(sasl_password=WRONG))
        started = time.monotonic()
        with GatewayProcess(tmp_path, **settings, IMAGEGATE_LOG_LEVEL="debug") as gateway:
            status, output = gateway.refuses("--port", "0")
        assert time.monotonic() - started < AT_ONCE_SECONDS
        assert status == 2, output
        assert "the name or the password is wrong. Remedy: correct IMAGEGATE_KAFKA__SASL" in output
        assert "Traceback" not in output
        assert WRONG not in output

    def test_doctor_says_the_cause_with_a_remedy(self, secured, tmp_path, monkeypatch, capsys):
        status, found = doctor(secured.settings("MTLS"), tmp_path, monkeypatch, capsys)
        assert status == 1
        [wrong] = [each for each in found if each["level"] == "wrong"]
        assert wrong["subject"] == "kafka"
        assert "requires a certificate of the gateway" in wrong["found"]
        assert wrong["remedy"] == (
            "set IMAGEGATE_KAFKA__TLS_CERT_FILE and IMAGEGATE_KAFKA__TLS_KEY_FILE"
        )

    def test_doctor_says_why_a_broker_of_the_cluster_cannot_be_used(
        self, secured, tmp_path, monkeypatch, capsys
    ):
        status, found = doctor(secured.settings("ODD"), tmp_path, monkeypatch, capsys)
        assert status == 1
        [wrong] = [each for each in found if each["level"] == "wrong"]
        assert wrong["subject"] == "broker 1"
        assert wrong["found"].endswith("is for another name")

    def test_doctor_finds_a_secured_cluster_in_order(self, secured, tmp_path, monkeypatch, capsys):
        settings = secured.settings(topic_prefix=new_prefix())
        status, found = doctor(settings, tmp_path, monkeypatch, capsys)
        assert status == 0, found
        assert PASSWORD not in json.dumps(found)


def doctor(settings, folder, monkeypatch, capsys):
    """Run the command; return its status and findings."""
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setenv("IMAGEGATE_DATA_DIR", str(folder))
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    status = cli.main(["doctor", "--json"])
    said = capsys.readouterr().out
    return status, json.loads(said[said.index("[\n") :])
