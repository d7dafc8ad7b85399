"""A broker's disk: full, or with a damaged batch on it."""

import asyncio
import re
import shutil
import subprocess

import pytest

from app.cli.main import main
from app.records.address import parse
from tests.support.checker import SMALL
from tests.support.gateway_process import GatewayProcess, until
from tests.support.segments import damage

pytestmark = pytest.mark.apache_kafka

DISK_BYTES = 200_000_000
# A few uploads more.
LEFT_BYTES = 4_000_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, where `new_broker` puts the data of its first broker."""
    folder = tmp_path / "kafka-0" / "logs"
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"needs to mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_disk_full(small_disk, new_broker, gateway_on, checker):
    broker = new_broker()
    async with checker(gateway_on(broker)) as clients:
        await clients.more_stored()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - LEFT_BYTES))
        await clients.until(lambda: broker.pid is None)
        await clients.ready(wanted=False)
        await clients.more_answers(503, 5)
        filler.unlink()
        await asyncio.to_thread(broker.start)
        await clients.ready()
        await clients.more_stored()
        await clients.finish()


def test_an_image_that_is_damaged_on_disk_is_503_and_its_neighbours_are_served(
    new_broker, gateway_on
):
    broker = new_broker()
    gateway = gateway_on(broker, IMAGEGATE_DELIVERY__CACHE_BYTES=0)
    with gateway.client() as client:
        images = [client.post("/images", content=data).json() for data in SMALL]
        broken, *intact = images
        broker.stop()
        damage_image(broker, gateway, broken)
        broker.start()
        gateway.await_ready()
        for _ in range(2):
            answer = client.get(broken["url"])
            assert (answer.status_code, answer.json()["code"]) == (503, "record-damaged")
        for image in intact:
            assert client.get(image["url"]).status_code == 200
        assert counted(client, "imagegate_kafka_damaged_batches_total") == 2
        assert sum("kafka_batch_damaged" in line for line in gateway.output) == 1
        # The catalog knows its id: it can still be deleted.
        assert client.delete(broken["url"]).status_code == 204
        assert client.get(broken["url"]).status_code == 410
    assert gateway.mistakes() == []


def test_an_image_that_is_damaged_on_its_leader_is_read_from_another_replica(cluster, gateway_on):
    gateway = gateway_on(cluster, IMAGEGATE_DELIVERY__CACHE_BYTES=0)
    with gateway.client() as client:
        images = [client.post("/images", content=data).json() for data in SMALL]
        served = [client.get(image["url"]).content for image in images]
        # Each image loses one of its three copies, a different one: some lose the leader's.
        for node in cluster.brokers:
            node.stop()
            for image in images:
                if parse(image["id"]).position.partition % 3 == cluster.brokers.index(node):
                    damage_image(node, gateway, image)
            node.start()
        gateway.await_ready()
        for _ in cluster.brokers:
            until(lambda: client.get(images[0]["url"]).status_code == 200)
            assert [client.get(image["url"]).content for image in images] == served
    assert gateway.mistakes() == []


def test_a_damaged_event_stops_those_behind_it_until_an_operator_skips_it(
    new_broker, gateway_on, tmp_path, monkeypatch, capsys
):
    broker = new_broker()
    gateway = gateway_on(broker)
    with gateway.client() as client:
        images = [client.post("/images", content=data).json() for data in SMALL]
        broker.stop()
        topic = f"{gateway.environment['IMAGEGATE_KAFKA__TOPIC_PREFIX']}image-events"
        lost = images[1]
        damage(broker, topic, 0, lost["id"].encode())
        broker.start()
        gateway.await_ready()

        behind = GatewayProcess(tmp_path / "behind", **gateway.environment)
        with behind:
            behind.spawn("--port", "0", wait=False)
            until(lambda: behind.url)
            with behind.client() as other:
                said = until(lambda: about_damage(other.get("/health/ready")))
                assert f"The batch at 0:{lost['sequence']} of {topic} is damaged" in said
                assert other.get("/images").status_code == 503
                assert sum("feed_interrupted" in line for line in behind.output) == 1

                for name, value in gateway.environment.items():
                    monkeypatch.setenv(name, value)
                assert main(["feed", "skip", "--offset", "1000000"]) == 2
                assert "There is no record at offset 1000000" in capsys.readouterr().err
                # A record that was applied is not in anyone's way.
                assert main(["feed", "skip", "--offset", str(images[0]["sequence"])]) == 0
                capsys.readouterr()
                assert other.get("/health/ready").status_code == 503
                assert main(["feed", "skip", "--offset", str(lost["sequence"])]) == 0
                assert f"continues at {lost['sequence'] + 1}" in capsys.readouterr().out

                until(lambda: other.get("/health/ready").status_code == 200)
                listed = [image["id"] for image in other.get("/images").json()["images"]]
                assert listed == [image["id"] for image in images[::-1] if image != lost]
                # Its bytes are not lost: its id still serves them.
                assert other.get(lost["url"]).status_code == 200
                image = other.post("/images", content=SMALL[0]).json()
                assert client.get(image["url"]).status_code == 200
    assert gateway.mistakes() == behind.mistakes() == []


def damage_image(broker, gateway, image):
    prefix = gateway.environment["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    where = parse(image["id"])
    topic = f"{prefix}images"
    damage(broker, topic, where.position.partition, where.cookie.hex().encode())


def about_damage(answer):
    detail = answer.json().get("detail", "")
    return detail if "damaged" in detail else None


def counted(client, metric):
    values = re.findall(rf"(?m)^{metric}{{.*}} (\S+)$", client.get("/metrics").text)
    return sum(map(float, values))
