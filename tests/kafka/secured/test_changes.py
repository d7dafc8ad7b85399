"""Credentials, certificates, sessions and listeners that change while a gateway runs."""

import asyncio
import time
from contextlib import aclosing, asynccontextmanager, suppress

import httpx
import pytest
from aiokafka.conn import AIOKafkaConnection, CloseReason

from app.errors import LogUnavailableError, NotWrittenError, OutcomeUnknownError
from app.log import EVENTS, IMAGES, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from tests.support.checker import SMALL, expect_honest
from tests.support.gateway_process import BOUNDED, on_kafka, until
from tests.support.kafka_logs import heal, new_prefix
from tests.support.secured import PASSWORD, SESSION_MS, environment

pytestmark = pytest.mark.apache_kafka

OTHER_PASSWORD = "another p4ssword"  # noqa: S105 - an example
# How long a cluster with changed credentials may need to be used again.
HEAL_SECONDS = 30


@asynccontextmanager
async def opened(settings):
    log = KafkaLog(
        KafkaSettings(
            topic_prefix=new_prefix(),
            partitions=2,
            producers=2,
            append_timeout_seconds=1.5,
            read_timeout_seconds=1.5,
            **settings,
        )
    )
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def first_event(log):
    """Read the first event on a connection of its own."""
    async with aclosing(log.tail(EVENTS, 0, 0)) as tail:
        async for batch in tail:
            if batch.records:
                return batch.records[0].value
    return None


async def until_refused(log):
    """Append until it no longer works."""
    async with asyncio.timeout(HEAL_SECONDS):
        with suppress(NotWrittenError, OutcomeUnknownError):
            while True:
                await log.append(IMAGES, [Record(b"key", b"value")])


async def until_true(condition):
    async with asyncio.timeout(HEAL_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


async def test_no_request_fails_where_sessions_end_and_none_is_cut(secured, monkeypatch):
    closed = []

    def note(connection, reason=None, exc=None):
        if connection._reader is not None:
            closed.append(reason)
        return close(connection, reason, exc)

    async with opened(secured.settings("SHORT")) as log:
        close = AIOKafkaConnection.close
        monkeypatch.setattr(AIOKafkaConnection, "close", note)
        await log.append(EVENTS, [Record(b"key", b"event")])
        tail = log.tail(EVENTS, 0, 0)
        async with aclosing(tail):
            await anext(tail)
            ends = time.monotonic() + 3 * SESSION_MS / 1000
            while time.monotonic() < ends:
                positions = await log.append(IMAGES, [Record(b"key", b"value")] * 4)
                for position in positions:
                    assert (await log.read(IMAGES, position)).record.value == b"value"
                await log.append(EVENTS, [Record(b"key", b"event")])
                assert (await anext(tail)).records
        retired = closed.copy()
    # Two producers of images, one of events, reads and the tail, two or three times each.
    assert len(retired) >= 2 * 5
    assert CloseReason.CONNECTION_BROKEN not in retired


async def test_a_password_is_rotated_without_a_restart(secured, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    settings = secured.settings("SHORT", sasl_username="rotating", sasl_password_file=file)
    async with opened(settings) as log:
        await log.append(IMAGES, [Record(b"key", b"value")])
        await asyncio.to_thread(secured.change_password, "rotating", OTHER_PASSWORD)
        await until_refused(log)
        await until_true(lambda: "the password is wrong" in (log.trouble or ""))
        file.write_text(OTHER_PASSWORD)
        await heal(log)
        await until_true(lambda: log.trouble is None)


@pytest.mark.parametrize("changed", ["certificate", "authority"])
async def test_certificates_that_change_on_disk_serve_the_next_connection(
    secured, tmp_path, changed
):
    ca, cert = tmp_path / "ca.pem", tmp_path / "cert.pem"
    ca.write_bytes(secured.ca.read_bytes())
    secured.authority.issue(cert, "mtls-gateway")
    async with opened(secured.settings("MTLS", tls_ca_file=ca, tls_cert_file=cert)) as log:
        await log.append(EVENTS, [Record(b"key", b"event")])
        if changed == "certificate":
            secured.stranger.issue(cert, "mtls-gateway")
        else:
            ca.write_bytes(secured.stranger.file.read_bytes())
        with pytest.raises(LogUnavailableError):
            await first_event(log)
        # A key without its certificate is half of a change: what was there stays in use.
        cert.write_bytes(b"")
        with pytest.raises(LogUnavailableError):
            await first_event(log)
        secured.authority.issue(cert, "mtls-gateway")
        ca.write_bytes(secured.ca.read_bytes())
        assert await first_event(log) == b"event"


async def test_a_token_that_expires_is_replaced_without_a_failed_request(secured, token_server):
    token_server.seconds = 2
    settings = secured.settings("SHORT", **token_server.settings())
    async with opened(settings) as log:
        while len(token_server.forms) < 3:
            await log.append(IMAGES, [Record(b"key", b"value")])


def test_a_cluster_that_turns_authentication_on_is_named_and_used_after_a_restart(
    new_broker, new_gateway
):
    broker = new_broker()
    gateway = new_gateway(**on_kafka(broker, "secured-"), **BOUNDED)
    with gateway.client() as client:
        stored = client.post("/images", content=SMALL[0]).json()
        broker.stop()
        turn_on(broker)
        broker.start()

        def refused():
            expect_honest(client.post("/images", content=SMALL[1]))
            return "requires to sign in by PLAIN" in client.get("/health/ready").text

        until(refused, HEAL_SECONDS)
        assert client.get("/health/live").status_code == httpx.codes.OK
        assert "IMAGEGATE_KAFKA__SECURITY_PROTOCOL to SASL_PLAINTEXT" in gateway.await_output(
            "kafka_gateway_refused"
        )
    assert gateway.terminate() == 0
    assert gateway.mistakes() == []

    signed_in = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "gateway",
        "sasl_password": PASSWORD,
    }
    gateway = new_gateway(**on_kafka(broker, "secured-"), **BOUNDED, **environment(signed_in))
    with gateway.client() as client:
        assert client.get(stored["url"]).status_code == httpx.codes.OK
        assert client.post("/images", content=SMALL[1]).status_code == httpx.codes.CREATED
    broker.kill()


def turn_on(broker):
    """Let the next start of a broker require a password on its listener."""
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    own = f'username="broker" password="b" user_broker="b" user_gateway="{PASSWORD}"'
    broker._properties |= {
        "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config": f"{module} {own};",
    }
