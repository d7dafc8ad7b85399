"""`imagegate doctor` and `imagegate topics` on sound and on misconfigured brokers."""

import asyncio
import json

import pytest
from aiokafka.protocol.admin import CreateAclsRequest

from app.cli import main as cli
from app.telemetry import logs
from dev.kafka.ports import HOST, free_port
from tests.support import plain, tiered
from tests.support.checker import CHUNKED, SMALL
from tests.support.gateway_process import on_kafka, until
from tests.support.plain import FITTING

pytestmark = pytest.mark.apache_kafka

ROLES = ("images", "image-events", "image-rejects")
# https://kafka.apache.org/protocol: a topic by its literal name, and every anonymous client.
TOPIC, LITERAL, ANYONE = 2, 3, "User:ANONYMOUS"
DENY, ALLOW = 2, 3
ANYTHING, READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS = 2, 3, 4, 8, 10
WITH_ACCESS_CONTROL = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command on a data folder of its own; returns its status and findings."""
    monkeypatch.setenv("IMAGEGATE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(logs, "configure", lambda _: None)

    def main(*arguments):
        status = cli.main([*arguments, "--json"])
        said = capsys.readouterr().out
        # The logs of a test run go there too.
        return status, json.loads(said[said.index("[\n") :])

    return main


def about(found, subject):
    return [each for each in found if each["subject"] == subject]


def levels(found):
    return {each["level"] for each in found}


def texts(found, level):
    return [f"{each['subject']} {each['found']}" for each in found if each["level"] == level]


def test_topics_are_created_once_and_doctor_finds_a_cluster_of_three_in_order(
    cluster, run, new_gateway
):
    kafka = ("--kafka", cluster.bootstrap_servers)
    status, found = run("topics", "--check", *kafka)
    assert (status, texts(found, "wrong")) == (1, [f"{role} is missing" for role in ROLES])
    status, found = run("topics", *kafka)
    assert (status, levels(found)) == (0, {"ok"})
    assert run("topics", "--check", *kafka) == (status, found)

    status, found = run("doctor", *kafka)
    assert (status, levels(found)) == (0, {"ok"}), found
    for number in (1, 2, 3):
        [broker] = about(found, f"broker {number}")
        assert broker["found"] == f"answers at {cluster.node(number).bootstrap_servers}"
    [trip] = about(found, "round trip")
    assert trip["found"].startswith("wrote a record to 12 partitions and read it back")
    assert about(found, "clock")

    cluster.node(2).kill()
    status, found = run("doctor", *kafka)
    assert status == 1
    [dead] = texts(found, "wrong")
    assert dead.startswith("broker 2 advertises ")
    # A gateway starts all the same, though it may be the dead one that is asked first.
    new_gateway(**on_kafka(cluster)).terminate()


def test_a_single_broker_works_and_is_warned_of(new_broker, run, monkeypatch):
    broker = new_broker()
    kafka = ("--kafka", broker.bootstrap_servers)
    assert run("topics", *kafka)[0] == 0
    status, found = run("doctor", *kafka)
    assert (status, levels(found)) == (0, {"ok", "warning"})
    warned = texts(found, "warning")
    assert len(warned) == len(ROLES)
    assert all("replication 1 and min.insync.replicas 1" in each for each in warned)

    # To erase images by their keys, one more is needed.
    assert about(found, "image-keys") == []
    monkeypatch.setenv("IMAGEGATE_KAFKA__ERASURE", "shred")
    status, found = run("topics", "--check", *kafka)
    assert (status, texts(found, "wrong")) == (1, ["image-keys is missing"])
    status, created = run("topics", *kafka)
    assert status == 0
    settings = ["cleanup.policy=compact", "max.compaction.lag.ms=86400000", "segment.ms=86400000"]
    assert set(settings) <= {each["found"] for each in about(created, "image-keys")}
    monkeypatch.delenv("IMAGEGATE_KAFKA__ERASURE")
    assert run("topics", "--check", *kafka) == (0, created)


async def test_a_misconfiguration_is_named_with_a_remedy_that_corrects_it(
    new_broker, run, tmp_path
):
    broker = new_broker({"unclean.leader.election.enable": "true", "log.cleaner.enable": "false"})
    await plain.create(
        broker,
        "images",
        2,
        cleanup_policy="compact",
        message_timestamp_type="CreateTime",
        max_message_bytes=100_000,
        min_insync_replicas=2,
        retention_ms=60_000,
    )
    await plain.create(broker, "image-events", 2, message_timestamp_type="LogAppendTime")
    await plain.create(broker, "image-rejects", **FITTING)
    # Examined where it exists, whatever becomes of new images.
    await plain.create(broker, "image-keys", 2, **FITTING)
    kafka = ("--kafka", broker.bootstrap_servers)
    status, found = await asyncio.to_thread(run, "doctor", *kafka)
    assert status == 1
    wrong = "\n".join(texts(found, "wrong"))
    for said in (
        "images replication 1 and min.insync.replicas 2: every append would fail",
        "images cleanup.policy=compact, which does not fit",
        "images message.timestamp.type=CreateTime, which does not fit",
        "images max.message.bytes=100000, which does not fit",
        "image-events 2 partitions and needs exactly one",
        "image-events retention.ms=604800000, which does not fit",
        "image-keys 2 partitions and needs exactly one",
        "image-keys cleanup.policy=delete, which does not fit (without compaction the keys",
        "broker 1 log.cleaner.enable=false: the keys of deleted images stay",
    ):
        assert said in wrong
    warned = "\n".join(texts(found, "warning"))
    for said in (
        "images retention.ms=60000 (images leave the log by themselves)",
        "images unclean.leader.election.enable=true",
        "image-keys max.compaction.lag.ms=9223372036854775807 (the keys of deleted images stay",
        "image-keys segment.ms=604800000 (the keys of deleted images stay",
        "round trip not tried",
    ):
        assert said in warned
    assert all(each["remedy"] for each in found if each["level"] == "wrong")

    # Follow the remedies.
    for topic in ("images", "image-keys"):
        said = {
            setting.partition("=")[0].replace(".", "_"): setting.partition("=")[2]
            for each in about(found, topic)
            for setting in each["remedy"].split("--add-config ")[1:]
        }
        await plain.alter(broker, topic, **FITTING | said)
    _, found = await asyncio.to_thread(run, "topics", "--check", *kafka)
    assert texts(about(found, "images"), "wrong") == []
    assert texts(about(found, "image-keys"), "wrong") == [
        "image-keys 2 partitions and needs exactly one"
    ]


async def test_a_tiered_topic_is_named_with_what_brokers_keep_of_it(new_broker, run, tmp_path):
    (tmp_path / "remote").mkdir()
    broker = new_broker(tiered.properties(tmp_path / "remote"))
    settings = plain.FITTING | {"remote_storage_enable": "true"}
    await plain.create(broker, "images", 1, **settings | {"retention_ms": 60_000})
    await plain.create(broker, "image-events", 1, **settings | {"local_retention_bytes": 1_000_000})
    await plain.create(broker, "image-rejects", 1, **plain.FITTING)
    kafka = ("--kafka", broker.bootstrap_servers)

    status, found = await asyncio.to_thread(run, "doctor", *kafka)
    assert status == 0
    warned, sound = texts(found, "warning"), texts(found, "ok")
    assert (
        "images retention.ms=60000 (images leave the log by themselves, and the remote storage;"
        " how long brokers keep them is local.retention.ms)"
    ) in warned
    kept = "tiered: local.retention.ms=-2 and local.retention.bytes=-2"
    assert f"images {kept} (brokers keep what is in the remote storage as well)" in warned
    assert (
        "image-events tiered: local.retention.ms=-2 and local.retention.bytes=1000000"
        " (a catalog is rebuilt from the remote storage)"
    ) in sound
    assert "image-rejects not tiered: every segment is on the brokers' disks" in sound

    # Follow the remedy.
    [remedy] = [each["remedy"] for each in about(found, "images") if kept in each["found"]]
    name, _, value = remedy.split("--add-config ")[1].partition("=")
    await plain.alter(broker, "images", **settings | {name.replace(".", "_"): value})
    _, found = await asyncio.to_thread(run, "topics", "--check", *kafka)
    tier = "images tiered: local.retention.ms=86400000 and local.retention.bytes=-2"
    assert tier in texts(found, "ok")


async def test_a_denied_operation_is_named(new_broker, run):
    broker = new_broker(WITH_ACCESS_CONTROL)
    kafka = ("--kafka", broker.bootstrap_servers)
    assert (await asyncio.to_thread(run, "topics", *kafka))[0] == 0
    await rule(broker, "images", ALLOW, ANYTHING)
    await rule(broker, "images", DENY, WRITE)
    [denied] = await asyncio.to_thread(until, lambda: wrong_with(run, kafka, "images"))
    assert denied["found"] == "Write not allowed"
    assert "--operation Write --topic images" in denied["remedy"]

    await rule(broker, "image-events", DENY, DESCRIBE)
    [hidden] = await asyncio.to_thread(until, lambda: wrong_with(run, kafka, "image-events"))
    assert hidden["found"] == "Read, Write, DescribeConfigs not allowed"


async def test_a_gateway_needs_no_more_rights_than_the_documents_say(new_broker, new_gateway):
    broker = new_broker(WITH_ACCESS_CONTROL)
    settings = on_kafka(broker)
    new_gateway(**settings).terminate()
    for role in ROLES:
        for operation in (READ, WRITE, DESCRIBE_CONFIGS):
            topic = settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"] + role
            await rule(broker, topic, ALLOW, operation)
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        stored = [client.post("/images", content=data).json() for data in (*SMALL, CHUNKED)]
        for image in stored:
            assert client.get(image["url"]).status_code == 200
        assert client.delete(stored[0]["url"]).status_code == 204
        assert len(client.get("/images").json()["images"]) == len(stored) - 1
    assert gateway.mistakes() == []


def test_a_missing_broker_is_named(run, monkeypatch):
    monkeypatch.setenv("IMAGEGATE_KAFKA__CONNECT_TIMEOUT_SECONDS", "1")
    address = f"{HOST}:{free_port()}"
    status, found = run("doctor", "--kafka", address)
    assert status == 1
    assert texts(found, "wrong") == [f"kafka no broker answers at {address}"]


def wrong_with(run, kafka, topic):
    """The wrong findings on a topic; a new rule takes effect after a little while."""
    return [each for each in about(run("doctor", *kafka)[1], topic) if each["level"] == "wrong"]


async def rule(broker, topic, permission, operation):
    async with plain.admin(broker) as admin:
        response = await admin._send_request(
            CreateAclsRequest(TOPIC, topic, LITERAL, ANYONE, "*", operation, permission)
        )
        assert [code for code, *_ in response.creation_responses] == [0]
